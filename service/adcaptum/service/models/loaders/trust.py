"""Trust in files whose loading may run code: the SHA-256 that `model.toml` states."""

import hashlib
from dataclasses import replace
from pathlib import Path

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.loaders.loader import Source


def checked(source: Source) -> Source:
    """Returns a source with the content of its file, which `[trusted]` in `model.toml` names.

    It is read once: what is loaded is what was hashed, whatever becomes of the file meanwhile.

    Raises:
        DeclarationError: `[trusted]` has another SHA-256, or none.
    """
    declared, path = source.declaration.trusted.get(source.path), source.path
    where = f"{source.declaration.name}/model.toml: trusted"
    content = source.file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
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
    return replace(source, content=content)


def sha256(file: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
