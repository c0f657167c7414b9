"""The life cycle of the models of all workers.

A change is tried on one worker first: what fails there, or ends it, does not reach the others,
which serve what they have. The versions that are wanted are noted before workers are told, so that
a process that starts meanwhile begins with them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from adcaptum.service import logs
from adcaptum.service.errors import (
    ModelFailed,
    ModelUnloaded,
    NotFound,
    Reason,
    ServiceError,
)
from adcaptum.service.front.fleet import messenger
from adcaptum.service.front.fleet.fleet_view import FleetView
from adcaptum.service.front.worker_answer import WorkerAnswer
from adcaptum.service.lifecycle import aliases
from adcaptum.service.lifecycle.alias_store import AliasStore
from adcaptum.service.placement import stored
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.supervisor import Supervisor
from adcaptum.v1 import model_pb2, repository_service_pb2 as pb

ALL: Final = ""
"""The version that stands for all versions of a model."""

IN_MEMORY: Final = (model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_FAILED)
"""The states of versions that a worker is to load when it starts."""


class FleetLifecycle:
    """The life cycle of models under a front; see `ModelLifecycle`."""

    def __init__(
        self, settings: Settings, supervisor: Supervisor, view: FleetView, store: AliasStore
    ) -> None:
        """Prepares it.

        Args:
            settings: The settings of the server.
            supervisor: The workers.
            view: Describes models.
            store: The aliases that were changed.
        """
        self._repository = settings.repository
        # Loading has several stages, and so have starts.
        self._patience = settings.load_timeout_seconds
        self._supervisor = supervisor
        self._view = view
        self._store = store
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loads: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def load(self, name: str, version: str = ALL, *, wait: bool = True) -> None:
        """Loads a model, or loads it anew; see `ModelLifecycle.load`."""
        await self._check_exists(name, version)
        task = self._loads.get((name, version))
        if task is None:
            await self._place(name)
            task = asyncio.create_task(self._load(name, version))
            self._loads[name, version] = task
            task.add_done_callback(partial(self._loaded, (name, version)))
        if wait:
            await asyncio.shield(task)
            return
        # The first worker knows of it when this call is answered.
        await self._announce(self._holders(name)[:1], name, version)

    async def unload(self, name: str, version: str = ALL) -> None:
        """Takes a model out of service; see `ModelLifecycle.unload`."""
        self._known(name)
        async with self._changing[name]:
            holders = self._known(name)
            wanted = self._supervisor.wanted
            before = wanted.state(name)
            wanted.unload(name, version)
            request = pb.UnloadModelRequest(model=_reference(name, version))
            try:
                await self._tell(holders[:1], "UnloadModel", request)
            except WorkerAnswer:
                wanted.restore(name, before)
                raise
            await self._tell(holders[1:], "UnloadModel", request)

    async def remove(self, name: str) -> None:
        """Unloads a model whose folder has gone; see `ModelLifecycle.remove`."""
        if not self._holders(name):
            return
        async with self._changing[name]:
            await self._remove(name)

    async def set_alias(
        self, name: str, alias: str, version: str, expected: str | None = None
    ) -> None:
        """Moves an alias; see `ModelLifecycle.set_alias`."""
        self._known(name)
        async with self._changing[name]:
            model = await self._view.describe(model_pb2.ModelRef(name=name), full=False)
            versions = {each.identity.version: each for each in model.versions}
            if version not in versions:
                raise NotFound("version", version, versions)
            aliases.check_set(model.aliases, alias, version, expected)
            if versions[version].state != model_pb2.MODEL_STATE_READY:
                raise ModelUnloaded(
                    f"Version {version!r} of model {name!r} does not serve; load it first.",
                    subject=name,
                )
            await self._put(name, alias, version)
            request: Message = pb.SetAliasRequest(model=_reference(name, version), alias=alias)
            await self._spread(name, "SetAlias", request)

    async def delete_alias(self, name: str, alias: str, expected: str | None = None) -> None:
        """Removes an alias; see `ModelLifecycle.delete_alias`."""
        self._known(name)
        async with self._changing[name]:
            model = await self._view.describe(model_pb2.ModelRef(name=name), full=False)
            aliases.check_delete(model.aliases, alias, expected)
            await self._put(name, alias, None)
            request = pb.DeleteAliasRequest(model=model_pb2.ModelRef(name=name), alias=alias)
            await self._spread(name, "DeleteAlias", request)

    async def _remove(self, name: str) -> None:
        holders = self._holders(name)
        self._supervisor.wanted.remove(name)
        await self._tell(holders, "UnloadModel", pb.UnloadModelRequest(model=_reference(name, ALL)))
        try:
            # A worker forgets what it is to load and finds no more.
            await self._tell(holders, "LoadModel", _load(name, ALL, wait=True))
        except WorkerAnswer as error:
            if error.reason != Reason.MODEL_NOT_FOUND:
                raise
        for slot in holders:
            slot.lose(name)

    async def _put(self, name: str, alias: str, version: str | None) -> None:
        await self._store.put(name, alias, version)
        logs.logger().info("alias moved", model=name, alias=alias, version=version or "")

    async def _spread(self, name: str, rpc: str, request: Message) -> None:
        """Spread a change that is kept; workers that cannot take it over read it later."""
        try:
            await self._tell(self._holders(name), rpc, request)
        except (WorkerAnswer, ServiceError) as error:
            logs.logger().warning("a worker takes over a change later", rpc=rpc, error=str(error))

    async def _check_exists(self, name: str, version: str) -> None:
        """Checks that the repository has what is to be loaded, as far as it can be seen."""
        names = await asyncio.to_thread(_names, self._repository)
        if name not in names:
            if not self._supervisor.wanted.versions.get(name):
                await self.remove(name)
                raise NotFound("model", name, names)
            return
        if version:
            known = await asyncio.to_thread(stored.version_names, self._repository / name)
            if version not in known:
                raise NotFound("version", version, known)

    async def _place(self, name: str) -> None:
        """Gives a model workers, if it has none.

        Raises:
            ModelFailed: There is no room.
        """
        if self._holders(name):
            return
        demand = await asyncio.to_thread(stored.demand, self._repository / name)
        if self._holders(name):
            return
        reason = self._supervisor.place(demand)
        if reason:
            raise ModelFailed(f"Model {name!r} has no place: {reason}.", subject=name)

    async def _load(self, name: str, version: str) -> None:
        async with self._changing[name]:
            wanted = self._supervisor.wanted
            before, holders = wanted.state(name), self._holders(name)
            request = _load(name, version, wait=True)
            wanted.load(name, version)
            try:
                await self._announce(holders[:1], name, version)
                await self._tell(holders[:1], "LoadModel", request)
            except messenger.Lost as error:
                wanted.restore(name, before)
                if before[0] is None:
                    # The process that comes shall not be ended, too.
                    for slot in holders:
                        slot.lose(name)
                raise ModelFailed(
                    f"Model {name!r} could not be loaded: a worker process ended meanwhile.",
                    subject=name,
                ) from error
            except WorkerAnswer as error:
                if error.reason == Reason.MODEL_NOT_FOUND:
                    await self._remove(name)
                else:
                    await self._keep_what_serves(name, before)
                raise
            await self._tell(holders[1:], "LoadModel", request)
            for slot in holders:
                slot.told(name)

    async def _announce(self, slots: Sequence[Slot], name: str, version: str) -> None:
        """Has workers begin to load a model; from then on they can describe it."""
        await self._tell(slots, "LoadModel", _load(name, version, wait=False))
        for slot in slots:
            slot.told(name)

    async def _keep_what_serves(self, name: str, before: Any) -> None:
        """Wants, after a load that failed, what was wanted before and what serves now."""
        wanted = self._supervisor.wanted
        wanted.restore(name, before)
        if before[0] is None:
            wanted.load(name, ALL)
            return
        model = await self._view.describe(model_pb2.ModelRef(name=name), full=False)
        for each in model.versions:
            if each.state in IN_MEMORY and each.identity.version:
                wanted.load(name, each.identity.version)

    def _loaded(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._loads[key]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ServiceError | WorkerAnswer):
            logs.logger().error("loading failed", model=key[0], exc_info=error)

    async def _tell(self, slots: Sequence[Slot], rpc: str, request: Message) -> None:
        """Has workers do something side by side; raises the first error when all have ended."""
        kind = getattr(pb, f"{rpc}Response")
        told = [messenger.tell(slot, rpc, request, kind, self._patience) for slot in slots]
        for answer in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _holders(self, name: str) -> list[Slot]:
        return [slot for slot in self._supervisor.slots if name in slot.models]

    def _known(self, name: str) -> list[Slot]:
        """Returns the workers that have a model.

        Raises:
            NotFound: There are none.
        """
        holders = self._holders(name)
        if not holders:
            raise NotFound(
                "model", name, {each for slot in self._supervisor.slots for each in slot.models}
            )
        return holders


def _names(repository: Path) -> list[str]:
    return [path.parent.name for path in stored.declarations(repository)]


def _reference(name: str, version: str) -> model_pb2.ModelRef:
    if version:
        return model_pb2.ModelRef(name=name, version=version)
    return model_pb2.ModelRef(name=name)


def _load(name: str, version: str, *, wait: bool) -> pb.LoadModelRequest:
    return pb.LoadModelRequest(model=_reference(name, version), wait=wait)
