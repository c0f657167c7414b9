"""Trust in files whose loading may run code: the SHA-256 that `model.toml` states."""

import hashlib
from pathlib import Path

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.loaders.loader import Source


def check(source: Source) -> None:
    """Raises `DeclarationError` unless `[trusted]` has the SHA-256 of the version's file."""
    declared, path = source.declaration.trusted.get(source.path), source.path
    where = f"{source.declaration.name}/model.toml: trusted"
    found = sha256(source.file)
    if declared is None:
        raise DeclarationError(
            f"{where}: {path!r} is missing. Loading such a file can run code that it contains. If "
            f'you know where it comes from, write "{path}" = "{found}" into [trusted]'
        )
    if declared != found:
        raise DeclarationError(
            f'{where}."{path}": {declared} is not the SHA-256 of the file, which is {found}: it is '
            "another file than the one that was trusted"
        )


def sha256(file: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
