"""A model's folder as one file: a reproducible, checksummed archive."""

import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.scaffold import check_new
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository import stored_models

SUFFIX: Final = ".tar"

CHECKSUMS: Final = "SHA256SUMS"
"""The first file of an archive, as `sha256sum` writes and checks it."""

MOST_CHECKSUM_BYTES: Final = 1 << 24
"""The largest list of checksums that is read."""

CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive.

    Attributes:
        path: The file.
        sha256: Its SHA-256; equal folders give equal archives.
        files: The number of files in it.
    """

    path: Path
    sha256: str
    files: int


def pack(folder: Path, output: Path | None = None) -> Packed:
    """Writes a model's folder into an archive: the same bytes for the same files.

    Args:
        folder: The model's folder.
        output: The archive; None: `NAME.tar` in the working directory.

    Raises:
        AuthoringError: The folder is no model, or holds what does not belong into an archive.
    """
    folder = folder.resolve()
    try:
        stored_models.open_model(folder)
    except DeclarationError as error:
        raise AuthoringError(str(error)) from error
    files = dict(_files(folder))
    output = Path(f"{folder.name}{SUFFIX}") if output is None else output
    sums = "".join(f"{_sha256(path)}  {name}\n" for name, path in files.items()).encode()
    try:
        with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_entry(f"{folder.name}/{CHECKSUMS}", len(sums)), io.BytesIO(sums))
            for name, path in files.items():
                with path.open("rb") as file:
                    size = path.stat().st_size
                    archive.addfile(_entry(f"{folder.name}/{name}", size), file)
    except OSError as error:
        raise AuthoringError(f"{output}: {error.strerror or error}") from error
    return Packed(output, _sha256(output), len(files))


def unpack(path: Path, into: Path) -> Path:
    """Writes the model of an archive into a repository, once all its checksums are right.

    Args:
        path: The archive.
        into: The repository.

    Returns:
        The model's folder.

    Raises:
        AuthoringError: It is no archive of a model or was changed, or the model is already there.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".unpacking-") as temporary:
        try:
            with tarfile.open(path, "r:") as archive:
                name = _extract(path, archive, Path(temporary))
        except (OSError, tarfile.TarError) as error:
            raise AuthoringError(f"{path}: no archive of a model: {error}") from error
        check_new(name, into)
        fresh = Path(temporary) / name
        try:
            stored_models.open_model(fresh)
        except DeclarationError as error:
            raise AuthoringError(f"{path}: {error}") from error
        shutil.move(fresh, into / name)
    return into / name


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = PurePosixPath(name).parts
        if "__pycache__" in parts or any(part.startswith(".") for part in parts):
            continue
        if name == CHECKSUMS:
            continue
        if not path.resolve().is_relative_to(folder):
            raise AuthoringError(f"{folder.name}/{name}: leads out of the model's folder")
        if path.is_file():
            if "\n" in name:
                raise AuthoringError(f"{folder.name}: {name!r} has a line break in its name")
            yield name, path


def _entry(name: str, size: int) -> tarfile.TarInfo:
    # Owner, time and mode are the same wherever the archive is made.
    made = tarfile.TarInfo(name)
    made.size, made.mode, made.mtime = size, 0o644, 0
    return made


def _extract(path: Path, archive: tarfile.TarFile, into: Path) -> str:
    """Extracts an archive; returns the model's name."""
    name, sums = "", dict[str, str]()
    for entry in archive:
        parts = PurePosixPath(entry.name).parts
        # The content of a sparse file may be far longer than the archive.
        regular = entry.isreg() and not entry.issparse()
        inner = ".." not in parts and "\0" not in entry.name and not entry.name.startswith("/")
        if not regular or not inner or len(parts) < 2:
            raise AuthoringError(f"{path}: {entry.name!r} does not belong into such an archive")
        inside = "/".join(parts[1:])
        stream = archive.extractfile(entry)
        assert stream is not None, "a regular file has content"
        if not name:
            name = parts[0]
            if inside != CHECKSUMS or entry.size > MOST_CHECKSUM_BYTES:
                raise AuthoringError(f"{path}: does not begin with {CHECKSUMS}")
            sums = _read_sums(path, stream.read())
            continue
        expected = sums.pop(inside, None)
        if parts[0] != name or expected is None:
            raise AuthoringError(f"{path}: {entry.name!r} is not in {CHECKSUMS}")
        target = into.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK)
        if _sha256(target) != expected:
            raise AuthoringError(f"{path}: {entry.name!r} is not what {CHECKSUMS} says")
    if not name or sums:
        missing = next(iter(sums), CHECKSUMS)
        raise AuthoringError(f"{path}: {missing!r} is missing")
    return name


def _read_sums(path: Path, content: bytes) -> dict[str, str]:
    sums = {}
    for line in content.decode("utf-8", errors="replace").splitlines():
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise AuthoringError(f"{path}: {CHECKSUMS}: {line[:80]!r} is no line of sha256sum")
        sums[name] = digest
    return sums


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
