"""Models in the repository as a plan sees them: names, terms and sizes; none of their code."""

import tomllib
from pathlib import Path
from typing import Final

from adcaptum.service.placement.plan import Demand
from adcaptum.service.placement.terms import ANYWHERE, Terms, of_table

DECLARATION: Final = "model.toml"
WEIGHTS: Final = frozenset({".safetensors", ".pt", ".pt2"})
"""The ends of the names of files with weights, whatever loads them."""


def declarations(repository: Path) -> list[Path]:
    """Returns the declarations of the models in a repository, by name."""
    return sorted(repository.glob(f"[!.]*/{DECLARATION}"))


def weights(folder: Path) -> list[Path]:
    """Returns the files with weights of the versions in a model's folder."""
    return sorted(path for path in folder.glob("[!.]*/*") if path.suffix in WEIGHTS)


def demands(repository: Path) -> list[Demand]:
    """Returns the needs of the models in a repository."""
    return [_demand(path) for path in declarations(repository)]


def _demand(declaration: Path) -> Demand:
    terms = _terms(declaration)
    folder = declaration.parent
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
