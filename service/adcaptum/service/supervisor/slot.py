"""Slots: the places of workers, each of which always has a process, or soon will."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from adcaptum.service import logs
from adcaptum.service.lifecycle.wanted import Wanted
from adcaptum.service.placement.plan import Plan
from adcaptum.service.processes.journal import LOADING
from adcaptum.service.processes.seat import Seat
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.back_off import BackOff
from adcaptum.service.supervisor.death import Death, outgrown
from adcaptum.service.supervisor.model_deaths import ModelDeaths
from adcaptum.service.supervisor.views import SlotView
from adcaptum.service.supervisor.worker_process import WorkerProcess

MOST_LOGGED: Final = 16
"""The most ids of requests in a line of the log."""


class Slot(SlotView):
    """The place of a worker.

    Attributes:
        process: Its process; None: it has ended and the next has not been started.
    """

    def __init__(
        self,
        worker: str,
        device: str,
        *,
        settings: Settings,
        core: int | None,
        folder: Path,
        deaths: ModelDeaths,
        wanted: Wanted,
        ended: Callable[["Slot", WorkerProcess, Death], None],
    ) -> None:
        """Prepares the slot; `run` starts its process.

        Args:
            worker: The id of the worker.
            device: Its device.
            settings: The settings of its processes.
            core: The only core that they may use; None: any.
            folder: The folder of its sockets.
            deaths: The models that must not be loaded.
            wanted: The versions that are to be loaded.
            ended: Called when a process has ended.
        """
        super().__init__(worker, device)
        self.process: WorkerProcess | None = None
        self._elsewhere: tuple[str, ...] = ()
        self._unplaced: Mapping[str, str] = {}
        self._settings = settings
        self._core = core
        self._folder = folder
        self._model_deaths = deaths
        self._wanted = wanted
        self._ended = ended
        self._started = 0
        self._back_off = BackOff()
        self._one_by_one = False
        self._stopping = False
        self._replacing = asyncio.Lock()
        # Those that take its place soon, and those whose place was taken.
        self._others: set[WorkerProcess] = set()

    @property
    def processes(self) -> list[WorkerProcess]:
        """All its processes that live, those that stop included."""
        own = [] if self.process is None else [self.process]
        return [each for each in (*own, *self._others) if not each.died.done()]

    def assign(self, plan: Plan) -> None:
        """Gives its next processes their models."""
        self.models = plan.models[self.id]
        placed = {name for names in plan.models.values() for name in names}
        self._elsewhere = tuple(sorted(placed - {*self.models}))
        self._unplaced = plan.unplaced

    def gain(self, model: str) -> None:
        """Gives its next processes a model."""
        self.models = tuple(sorted({*self.models, model}))

    def told(self, model: str) -> None:
        """Notes that its processes know of a model."""
        for process in self.processes:
            process.models |= {model}

    def lose(self, model: str) -> None:
        """Takes a model away from its processes."""
        self.models = tuple(each for each in self.models if each != model)
        for process in self.processes:
            process.models -= {model}

    async def run(self) -> None:
        """Keeps a process in the slot until `stop`."""
        while not self._stopping:
            async with self._replacing:
                process = self.process = self.process or await self._start()
            await _ended_or_outgrown(process)
            if process is not self.process:
                continue
            if not process.died.done():
                await self._shrink(process)
                continue
            self.process = None
            if self._stopping:
                break
            self.restarts += 1
            self._record(process, process.died.result())
            await asyncio.sleep(self._back_off.pause)

    async def _shrink(self, process: WorkerProcess) -> None:
        """Replaces a process with more memory than it may have, after its requests."""
        self._count(process)
        logs.logger().warning("a worker has too much memory", worker=self.id, pid=process.pid)
        await asyncio.wait([process.died], timeout=self._back_off.pause)
        if process is not self.process or process.died.done():
            return
        rolling = asyncio.create_task(self.roll())
        try:
            either: list[asyncio.Future[Any]] = [process.died, rolling]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            # Whoever ended it meanwhile is blamed at once, not when the next process serves.
            if process.died.done():
                self._record_shrunk(process, process.died.result())
            if not await rolling and process.died.done() and self.process is process:
                self.process = None
        finally:
            rolling.cancel()

    def _record_shrunk(self, process: WorkerProcess, death: Death) -> None:
        """Notes the end of a process that was to be replaced because of its memory."""
        if death.kind == "stopped":
            self.reason = outgrown().cause
            self._ended(self, process, outgrown())
        else:
            self._record(process, death)

    def _count(self, process: WorkerProcess) -> float:
        """Counts a process that is replaced; returns the seconds that it has lived."""
        now = monotonic()
        self._back_off.count(process.born, process.served_from, now)
        return now - process.born

    async def roll(self) -> bool:
        """Replaces the process by a new one, without a pause; returns whether that worked."""
        async with self._replacing:
            return await self._roll()

    async def _roll(self) -> bool:
        old = self.process
        new = await self._start()
        self._others.add(new)
        while not (new.died.done() or (new.ready and self._replaces(new, old))):
            await asyncio.wait([new.died], timeout=0.05)
        if new.died.done():
            self._others.discard(new)
            logs.logger().error(
                "a worker could not be replaced", worker=self.id, cause=new.died.result().cause
            )
            return False
        self._others.discard(new)
        # The old one may have ended meanwhile, and have been replaced.
        old, self.process = self.process, new
        self.restarts += 1
        if old is not None and not old.died.done():
            self._others.add(old)
            old.stop()
            await old.stopped()
            self._others.discard(old)
        return True

    def _replaces(self, new: WorkerProcess, old: WorkerProcess | None) -> bool:
        """Returns whether a process serves what the old one does, as far as it will do so."""
        if old is None or old.died.done():
            return True
        awaited = (old.serving & {*self.models}) - new.serving
        patience = self._settings.ready_after_seconds + self._settings.load_timeout_seconds
        return not awaited or monotonic() - new.born > patience

    async def stop(self) -> None:
        """Has all processes finish their requests and end."""
        self._stopping = True
        living = self.processes
        for process in living:
            process.stop()
        for process in living:
            await process.stopped()

    async def _start(self) -> WorkerProcess:
        self._started += 1
        place = self._folder / f"{self.id}.{self._started}"
        seat = Seat(
            worker=self.id,
            socket=place.with_suffix(f"{place.suffix}.grpc"),
            http_socket=place.with_suffix(f"{place.suffix}.http"),
            frames_socket=place.with_suffix(f"{place.suffix}.frames"),
            journal=place.with_suffix(f"{place.suffix}.journal"),
            supervisor=os.getpid(),
            quarantined=tuple(sorted(self._model_deaths.quarantined)),
            one_by_one=self._one_by_one,
            core=self._core,
            models=self.models,
            elsewhere=self._elsewhere,
            unplaced=self._unplaced,
            versions=dict(self._wanted.versions),
        )
        process = await WorkerProcess.start(seat, self._settings)
        logs.logger().info("worker started", worker=self.id, device=self.device, pid=process.pid)
        return process

    def _record(self, process: WorkerProcess, death: Death) -> None:
        self.reason = death.cause
        loading = [entry for entry in death.running if entry.kind == LOADING]
        # The next process shows which of several models ends it.
        self._one_by_one = bool(loading)
        lived = self._count(process)
        logs.logger().error(
            "a worker ended",
            worker=self.id,
            pid=process.pid,
            cause=death.cause,
            models=sorted({entry.model for entry in death.running}),
            requests=sorted(death.requests)[:MOST_LOGGED],
            seconds=round(lived, 3),
        )
        self._ended(self, process, death)


async def _ended_or_outgrown(process: WorkerProcess) -> None:
    """Waits until a process has ended, or has more memory than it may."""
    grown = asyncio.create_task(process.outgrown.wait())
    try:
        either: list[asyncio.Future[Any]] = [process.died, grown]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        grown.cancel()
