"""Models in the repository as a plan sees them: names, terms and sizes; none of their code."""

import re
import tomllib
from pathlib import Path
from typing import Final

from adcaptum.service.placement.plan import Demand
from adcaptum.service.placement.terms import ANYWHERE, Terms, of_table

DECLARATION: Final = "model.toml"
CODE: Final = "code"
"""The folder of a model that has its modules, and is no version."""

WEIGHTS: Final = frozenset({".safetensors", ".pt", ".pt2"})
"""The ends of the names of files with weights, whatever loads them."""


def declarations(repository: Path) -> list[Path]:
    """Returns the declarations of the models in a repository, by name."""
    return sorted(repository.glob(f"[!.]*/{DECLARATION}"))


def weights(folder: Path) -> list[Path]:
    """Returns the files with weights of the versions in a model's folder."""
    return sorted(path for path in folder.glob("[!.]*/*") if path.suffix in WEIGHTS)


def version_names(folder: Path) -> tuple[str, ...]:
    """Returns the names of the folders in a model's folder that may be versions, in their order."""
    found = [path.name for path in folder.glob("[!.]*/") if path.name != CODE]
    return tuple(sorted(found, key=numeric))


def numeric(name: str) -> tuple[tuple[int, str], ...]:
    """Returns a sort key of versions that orders "2" before "10"."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)
    )


def demands(repository: Path) -> list[Demand]:
    """Returns the needs of the models in a repository."""
    return [demand(path.parent) for path in declarations(repository)]


def demand(folder: Path) -> Demand:
    """Returns the needs of the model in a folder."""
    terms = _terms(folder / DECLARATION)
    nbytes = terms.memory_bytes or sum(map(_size, weights(folder)))
    return Demand(folder.name, nbytes, terms)


def _terms(declaration: Path) -> Terms:
    try:
        table = tomllib.loads(declaration.read_text("utf-8")).get("placement")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ANYWHERE
    return of_table(table)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
