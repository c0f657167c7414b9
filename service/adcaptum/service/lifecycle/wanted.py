"""The versions of each model that are to be in memory: what a worker process that starts loads.

A version that appears in a folder is wanted when somebody asks for it, and not because a process
happens to be replaced: else workers would answer differently.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from adcaptum.service.placement.stored import version_names


class Wanted:
    """The wanted versions of all models.

    Attributes:
        versions: The versions by model, those that fail to load included.
    """

    def __init__(self, repository: Path) -> None:
        self.versions: dict[str, tuple[str, ...]] = {}
        self._repository = repository
        # The versions that were unloaded on purpose; None: all of a model's.
        self._left_out: dict[str, set[str] | None] = {}

    def read(self, names: Iterable[str]) -> None:
        """Wants what the folders of some models have now, but for what was unloaded on purpose."""
        self.versions = {name: self._present(name) for name in names}

    def load(self, name: str, version: str) -> None:
        """Wants a version; empty: all that the model's folder has now."""
        if not version:
            self._left_out.pop(name, None)
            self.versions[name] = self._present(name)
            return
        left_out = self._left_out.get(name)
        if left_out is None:
            if name in self._left_out:
                self._left_out[name] = {*self._folders(name)} - {version}
        else:
            left_out.discard(version)
        self.versions[name] = tuple(dict.fromkeys((*self.versions.get(name, ()), version)))

    def unload(self, name: str, version: str) -> None:
        """Wants a version no more; empty: none of the model's."""
        if not version:
            self._left_out[name] = None
            self.versions[name] = ()
            return
        left_out = self._left_out.setdefault(name, set())
        if left_out is not None:
            left_out.add(version)
        self.versions[name] = tuple(each for each in self.versions.get(name, ()) if each != version)

    def remove(self, name: str) -> None:
        """Forgets a model."""
        self.versions.pop(name, None)
        self._left_out.pop(name, None)

    def state(self, name: str) -> "tuple[tuple[str, ...] | None, set[str] | None, bool]":
        """Returns what is wanted of a model, for `restore`."""
        left_out = self._left_out.get(name)
        kept = None if left_out is None else {*left_out}
        return self.versions.get(name), kept, name in self._left_out

    def restore(
        self, name: str, state: "tuple[tuple[str, ...] | None, set[str] | None, bool]"
    ) -> None:
        """Wants what was wanted before a change that failed."""
        versions, left_out, has_left_out = state
        self.remove(name)
        if versions is not None:
            self.versions[name] = versions
        if has_left_out:
            self._left_out[name] = left_out

    def _present(self, name: str) -> tuple[str, ...]:
        if name in self._left_out and self._left_out[name] is None:
            return ()
        left_out: Iterable[str] = self._left_out.get(name) or ()
        return tuple(each for each in self._folders(name) if each not in left_out)

    def _folders(self, name: str) -> tuple[str, ...]:
        return version_names(self._repository / name)


def as_told(versions: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Returns the versions of models as they were told to another process."""
    return {name: tuple(each) for name, each in versions.items()}
