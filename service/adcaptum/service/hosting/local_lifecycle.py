"""The life cycle of the models of one process."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final

from adcaptum.service import logs
from adcaptum.service.errors import (
    ModelFailed,
    ModelUnloaded,
    NotFound,
    ServiceError,
    VersionInUse,
)
from adcaptum.service.hosting.retirement import Retirement
from adcaptum.service.hosting.showcase import Showcase
from adcaptum.service.hosting.stages import Stages
from adcaptum.service.hosting.version_loader import Prepared, VersionLoader
from adcaptum.service.lifecycle import aliases
from adcaptum.service.lifecycle.alias_store import AliasStore
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.catalogue.entry import Entry, State
from adcaptum.service.models.loaders import model_code
from adcaptum.service.models.repository import stored_models
from adcaptum.service.models.repository.stored_models import StoredModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.placement.stored import version_names
from adcaptum.service.processes.journal import LOADING, Journal
from adcaptum.service.settings import Settings

ALL: Final = ""
"""The version that stands for all versions of a model."""


class LocalLifecycle:
    """The life cycle of the models of this process; see `ModelLifecycle`."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        showcase: Showcase,
        store: AliasStore,
        retirement: Retirement,
        *,
        versions: Mapping[str, Iterable[str]] = MappingProxyType({}),
        journal: Journal | None = None,
    ) -> None:
        """Prepares it; nothing is loaded yet.

        Args:
            settings: The settings of the server.
            catalogue: The models.
            showcase: Shows what serves.
            store: The aliases that were changed.
            retirement: What follows versions that are taken out of service.
            versions: The versions of models of which not all are to be loaded at the start.
            journal: Where is noted what loads; None: nowhere.
        """
        self._settings = settings
        self._catalogue = catalogue
        self._showcase = showcase
        self._store = store
        self._retirement = retirement
        self._journal = journal
        self._first_versions = {name: frozenset(each) for name, each in versions.items()}
        self._loader = VersionLoader(settings)
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loads: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def load(self, name: str, version: str = ALL, *, wait: bool = True) -> None:
        """Loads a model, or loads it anew; see `ModelLifecycle.load`."""
        await self._check_exists(name, version)
        task = self._task(name, version)
        if wait:
            await asyncio.shield(task)
        else:
            await asyncio.sleep(0)  # in which it begins

    async def begin(self, name: str) -> None:
        """Loads a model for the first time; the reason of a failure is in its state."""
        with suppress(ServiceError):
            await asyncio.shield(self._task(name, ALL))

    async def unload(self, name: str, version: str = ALL) -> None:
        """Takes a model out of service; see `ModelLifecycle.unload`."""
        async with self._turn(name):
            entry = self._catalogue.entry(name)
            if version and version not in entry.versions:
                raise NotFound("version", version, entry.versions)
            if version:
                _check_unused(entry, version)
            left = {k: each for k, each in entry.served.items() if version not in (ALL, k)}
            failures = {**entry.failures, **entry.load_failures}
            kept = {} if version == ALL else {k: v for k, v in failures.items() if k != version}
            await self._install(entry, left, kept)

    async def remove(self, name: str) -> None:
        """Unloads a model whose folder has gone; see `ModelLifecycle.remove`."""
        if name not in self._catalogue:
            return
        async with self._changing[name]:
            await self._install(self._catalogue.entry(name), {}, {})
            self._catalogue.remove(name)
            await self._showcase.remove(name)
        if not self._changing[name].locked():
            del self._changing[name]

    async def set_alias(
        self, name: str, alias: str, version: str, expected: str | None = None
    ) -> None:
        """Moves an alias; see `ModelLifecycle.set_alias`."""
        async with self._turn(name):
            entry = self._catalogue.entry(name)
            if version not in entry.versions:
                raise NotFound("version", version, entry.versions)
            aliases.check_set(entry.aliases, alias, version, expected)
            if version not in entry.served:
                raise ModelUnloaded(
                    f"Version {version!r} of model {name!r} does not serve; load it first.",
                    subject=name,
                )
            await self._put(entry, alias, version)

    async def delete_alias(self, name: str, alias: str, expected: str | None = None) -> None:
        """Removes an alias; see `ModelLifecycle.delete_alias`."""
        async with self._turn(name):
            entry = self._catalogue.entry(name)
            aliases.check_delete(entry.aliases, alias, expected)
            await self._put(entry, alias, None)

    def _turn(self, name: str) -> asyncio.Lock:
        """Returns the lock of a model's changes.

        Raises:
            NotFound: There is no such model: callers choose names.
        """
        return self._changing[self._catalogue.entry(name).name]

    def stop(self) -> None:
        """Ends what is under way."""
        for task in self._loads.values():
            task.cancel()
        self._retirement.stop()

    async def _put(self, entry: Entry, alias: str, version: str | None) -> None:
        before = entry.aliases.get(alias, "")
        await self._store.put(entry.name, alias, version)
        entry.set_aliases(self._store.of(entry.name))
        self._catalogue.changed()
        logs.logger().info(
            "alias moved", model=entry.name, alias=alias, version=version or "", before=before
        )

    async def _check_exists(self, name: str, version: str) -> None:
        """Checks that the repository has what is to be loaded, as far as it can be read."""
        names = await asyncio.to_thread(stored_models.names, self._settings.repository)
        serves = name in self._catalogue and self._catalogue.entry(name).served
        if name not in names and not serves:
            await self.remove(name)
            raise NotFound("model", name, names)
        if version and name in names:
            folder = self._settings.repository / name
            known = await asyncio.to_thread(version_names, folder)
            if version not in known:
                raise NotFound("version", version, known)

    def _task(self, name: str, version: str) -> asyncio.Task[None]:
        """Returns the load of a version that is under way, or begins one."""
        task = self._loads.get((name, version))
        if task is None:
            self._catalogue.add(name)
            task = asyncio.create_task(self._load_in_turn(name, version))
            self._loads[name, version] = task
            task.add_done_callback(partial(self._loaded, (name, version)))
        return task

    def _loaded(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._loads[key]
        error = None if task.cancelled() else task.exception()
        # The reason of another one is in the model's state, and in the log.
        if error is not None and not isinstance(error, ServiceError):
            logs.logger().error("loading failed", model=key[0], exc_info=error)

    async def _load_in_turn(self, name: str, version: str) -> None:
        async with self._changing[name]:
            entry = self._catalogue.add(name)
            before = entry.state, entry.reason
            if not entry.served:
                entry.state, entry.reason = State.LOADING, ""
            slot = None if self._journal is None else self._journal.begin(LOADING, name)
            try:
                await self._load(entry, version)
            except NotFound:
                entry.state, entry.reason = before
                raise
            finally:
                entry.loading = frozenset()
                if self._journal is not None:
                    self._journal.end(slot)

    async def _load(self, entry: Entry, version: str) -> None:
        begin, stages = monotonic(), Stages(entry.name, self._settings)
        folder = self._settings.repository / entry.name
        try:
            stored = await stages.run("reading", partial(stored_models.open_model, folder))
        except Exception as error:  # whatever it is, the other models load
            raise await self._unreadable(entry, error) from error
        if version and version not in stored.versions:
            raise NotFound("version", version, stored.versions)
        first = self._first_versions.pop(entry.name, None)
        entry.set_stored(stored, self._store.of(entry.name))
        wanted = [
            each
            for each in stored.versions
            if version in (ALL, each) and (first is None or each in first)
        ]
        entry.loading = frozenset(wanted) - entry.served.keys()
        prepared, failures = dict[str, Prepared](), dict[str, str]()
        for each in wanted:
            try:
                if await self._is_loaded(entry, stored, each, stages):
                    continue
                found = stored.versions[each]
                prepared[each] = await self._loader.prepare(stored, found, stages)
            except Exception as error:  # noqa: BLE001  # factories and models are others' code
                failures[each] = self._showcase.failed(entry.name, each, error)
        entry.loading = frozenset()
        seconds = monotonic() - begin
        for made in prepared.values():
            self._showcase.loaded(made, seconds)
        now = {
            each: prepared[each].served if each in prepared else entry.served[each]
            for each in (stored.versions if version == ALL else entry.versions)
            if each in prepared or each in entry.served
        }
        earlier = {**entry.failures, **entry.load_failures} if version else {}
        await self._install(entry, now, {**earlier, **dict.fromkeys(prepared, ""), **failures})
        self._showcase.took(entry.name, seconds)
        if failures:
            raise _failed(entry, failures)

    async def _is_loaded(
        self, entry: Entry, stored: StoredModel, version: str, stages: Stages
    ) -> bool:
        """Returns whether a version serves with what its files are now."""
        served = entry.served.get(version)
        if served is None:
            return False
        digest = partial(stored.digest, stored.versions[version])
        return await stages.run("reading", digest) == served.loaded.digest

    async def _unreadable(self, entry: Entry, error: Exception) -> ServiceError:
        """Notes that a folder cannot be read; returns the error for callers."""
        reason = self._showcase.failed(entry.name, "", error)
        if entry.served:
            await self._install(entry, entry.served, dict.fromkeys(entry.served, reason))
        else:
            entry.set_failed(reason)
            self._catalogue.changed()
            await self._showcase.show(entry, {})
        return _failed(entry, {ALL: reason})

    async def _install(
        self, entry: Entry, served: Mapping[str, ServedModel], failures: Mapping[str, str]
    ) -> None:
        """Has some versions serve from now on, in one moment, and no others."""
        failures = {name: reason for name, reason in failures.items() if reason}
        old = {name: each for name, each in entry.served.items() if served.get(name) is not each}
        if not served and failures:
            first = next(iter(failures.values()))
            reason = failures.get(
                "" if entry.stored is None else entry.stored.default_version, first
            )
            entry.set_failed(reason, failures)
        else:
            entry.set_loaded(served, failures)
        entry.set_aliases(self._store.of(entry.name))
        entry.unloading |= old.keys() - served.keys()
        self._catalogue.changed()
        for name, each in old.items():
            self._retirement.retire(each, partial(self._freed, entry, name))
        await self._showcase.show(entry, old)

    def _freed(self, entry: Entry, version: str) -> None:
        entry.unloading -= {version}
        if not entry.served and not entry.unloading and not entry.loading:
            model_code.forget(self._settings.repository / entry.name)


def _check_unused(entry: Entry, version: str) -> None:
    """Checks that nothing depends on a version.

    Raises:
        VersionInUse: Something does.
    """
    if version not in entry.served:
        return
    named = [alias for alias, at in entry.aliases.items() if at == version]
    declared = "" if entry.stored is None else entry.stored.declaration.default_version
    what = f"Version {version!r} of model {entry.name!r}"
    if named:
        text = f"{what} is where the alias {named[0]!r} is; move the alias first."
    elif version == declared:
        text = f"{what} is the default_version of model.toml."
    elif len(entry.served) == 1:
        text = f"{what} is the only one that serves; to unload the model, name no version."
    else:
        return
    raise VersionInUse(text, subject=entry.name)


def _failed(entry: Entry, failures: Mapping[str, str]) -> ModelFailed:
    """Returns the error of a load of which something failed."""
    version, reason = next(iter(failures.items()))
    what = f"Version {version!r} of model" if version else "Model"
    after = " What was loaded before serves." if entry.served else ""
    return ModelFailed(
        f"{what} {entry.name!r} could not be loaded: {reason.rstrip('.')}.{after}",
        subject=entry.name,
    )
