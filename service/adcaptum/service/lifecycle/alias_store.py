"""The store of aliases: what was changed while a server ran, in a file that outlives it.

The file stands beside the models, `.adcaptum/aliases.json`, so that every server of the repository
begins with the same aliases.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from adcaptum.service import logs
from adcaptum.service.errors import Unwritable
from adcaptum.service.lifecycle.aliases import Changes

FOLDER: Final = ".adcaptum"
FILE: Final = "aliases.json"


class AliasStore:
    """The changes of aliases by model."""

    def __init__(self, repository: Path, *, shared: bool = False) -> None:
        """Reads the file, if there is one.

        Args:
            repository: The folder of models.
            shared: Whether another process writes the file, so that this one only reads it.
        """
        self._path = repository / FOLDER / FILE
        self._shared = shared
        self._writing = asyncio.Lock()
        self._changes: dict[str, dict[str, str | None]] = _read(self._path)

    def of(self, name: str) -> Changes:
        """Returns the changes of a model's aliases; those of a shared file are read anew."""
        if self._shared:
            self._changes = _read(self._path)
        return self._changes.get(name, {})

    async def put(self, name: str, alias: str, version: str | None) -> None:
        """Keeps a change.

        Args:
            name: The model.
            alias: The alias.
            version: Where it is; None: it is deleted.

        Raises:
            Unwritable: The file cannot be written; nothing has changed.
        """
        async with self._writing:
            changed = {**self._changes, name: {**self.of(name), alias: version}}
            if not self._shared:
                try:
                    await asyncio.to_thread(_write, self._path, changed)
                except OSError as error:
                    raise Unwritable(
                        f"The change cannot be kept: {error.strerror or error} when writing "
                        f"{FOLDER}/{FILE} in the repository.",
                        subject=name,
                    ) from error
            self._changes = changed


def _read(path: Path) -> dict[str, dict[str, str | None]]:
    try:
        told = json.loads(path.read_text("utf-8"))
        return {name: _checked(changes) for name, changes in told["models"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # Aliases of model.toml are better than no server.
        logs.logger().error("changed aliases cannot be read", file=str(path), error=str(error))
        return {}


def _checked(changes: Mapping[object, object]) -> dict[str, str | None]:
    checked: dict[str, str | None] = {}
    for alias, version in changes.items():
        if not isinstance(alias, str) or not (version is None or isinstance(version, str)):
            raise ValueError(f"{alias!r}: {version!r} is no version")
        checked[alias] = version
    return checked


def _write(path: Path, changes: Mapping[str, Changes]) -> None:
    """Writes the file anew, so that whoever reads it finds it whole."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump({"models": changes}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
