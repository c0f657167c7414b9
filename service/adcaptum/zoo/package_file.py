"""Files inside installed packages, found without importing the package."""

import hashlib
import importlib.util
from pathlib import Path


class PackageFileMissing(FileNotFoundError):
    """A package that a bundled model is made from is not installed, or lacks the file."""


class PackageFileChanged(ValueError):
    """A file is not the one that the recipe was written for."""


def package_file(package: str, path: str, *, sha256: str | None = None) -> Path:
    """Returns the path of a file inside an installed package.

    The package is not imported: some that carry weights or data need
    libraries that we do without.

    Raises:
        PackageFileMissing: The package is not installed or has no such file.
        PackageFileChanged: The file's SHA-256 is another.
    """
    specification = importlib.util.find_spec(package)
    if specification is None or not specification.submodule_search_locations:
        raise PackageFileMissing(f"package {package} is not installed; `make setup` installs it")
    file = Path(specification.submodule_search_locations[0]) / path
    if not file.is_file():
        raise PackageFileMissing(f"package {package} has no file {path}")
    if sha256 is not None:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256:
            raise PackageFileChanged(f"{file}: SHA-256 {found}, expected {sha256}")
    return file
