"""Models as they lie in the repository, before they are loaded."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from adcaptum.service.lifecycle.names import NAME, NAME_RULE
from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.loaders import LOADERS
from adcaptum.service.models.loaders.model_code import FOLDER
from adcaptum.service.models.repository import declaration_file
from adcaptum.service.nearest import shortened
from adcaptum.service.placement.stored import declarations, numeric


@dataclass(frozen=True, slots=True)
class Version:
    """One set of weights of a model.

    Attributes:
        name: The name of its folder.
        weights: The file that the loader reads.
    """

    name: str
    weights: Path


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the repository, not loaded.

    Attributes:
        declaration: The content of `model.toml`.
        folder: The model's folder.
        versions: Versions by name, in numeric order.
        default_version: The version of requests that name none.
    """

    declaration: Declaration
    folder: Path
    versions: Mapping[str, Version]
    default_version: str

    def digest(self, version: Version) -> str:
        """Returns the hexadecimal BLAKE2b digest of everything that decides the model's answers."""
        digest = hashlib.blake2b(digest_size=16)
        for path in self._files(version):
            digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()

    def stamp(self, version: Version) -> tuple[object, ...]:
        """Returns what changes when one of the files of a version does, without reading them."""
        found = [(path, path.stat()) for path in self._files(version)]
        return tuple((path, each.st_size, each.st_mtime_ns, each.st_ino) for path, each in found)

    def _files(self, version: Version) -> list[Path]:
        """Returns the files that decide a version's answers."""
        code = (
            path for path in (self.folder / FOLDER).rglob("*") if "__pycache__" not in path.parts
        )
        beside = sorted(path for path in (*self.folder.iterdir(), *code) if path.is_file())
        inside = sorted(path for path in version.weights.parent.rglob("*") if path.is_file())
        return [*beside, *inside]


def names(repository: Path) -> tuple[str, ...]:
    """Returns the names of the folders with models in the repository.

    Raises:
        DeclarationError: It is not a folder, or is itself a model.
    """
    if not repository.is_dir():
        raise DeclarationError(f"{repository}: not a folder")
    if (repository / declaration_file.FILE).is_file():
        raise DeclarationError(
            f"{repository}: this is a model; serve the folder that it lies in, {repository.parent}"
        )
    return tuple(path.parent.name for path in declarations(repository))


def open_model(folder: Path) -> StoredModel:
    """Reads a model's folder, all but the weights.

    Raises:
        DeclarationError: The declaration is wrong, there is no version, it names one that does not
            exist, or a name is not of the form of names.
    """
    _check_name("the name of the model's folder", folder.name)
    declaration = declaration_file.read(folder)
    file = LOADERS[declaration.loader].file
    found = sorted(folder.glob(f"[!.]*/{file}"), key=lambda path: numeric(path.parent.name))
    if not found:
        raise DeclarationError(f"{folder.name}: no version: there is no folder with a {file}")
    for path in found:
        _check_name(f"{folder.name}: the name of a version's folder", path.parent.name)
    for alias in declaration.aliases:
        _check_name(f"{folder.name}/{declaration_file.FILE}: aliases", alias)
    versions = {path.parent.name: Version(path.parent.name, path) for path in found}
    default = declaration.default_version or found[-1].parent.name
    for field, version in (
        ("default_version", default),
        *((f"aliases.{alias}", name) for alias, name in declaration.aliases.items()),
    ):
        if version not in versions:
            known = ", ".join(versions)
            raise DeclarationError(
                f"{folder.name}/{declaration_file.FILE}: {field}: there is no version {version!r}; "
                f"there are {known}"
            )
    return StoredModel(declaration, folder, MappingProxyType(versions), default)


def _check_name(what: str, name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise DeclarationError(f"{what}: {shortened(name)} is not of the form {NAME_RULE}")
