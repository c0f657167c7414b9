"""The model loader: brings every model to READY, or to FAILED with the reason, at the start.

Models load side by side, and each serves as soon as it is ready.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import torch

from adcaptum.service import logs
from adcaptum.service.hosting.local_lifecycle import LocalLifecycle
from adcaptum.service.hosting.showcase import Showcase
from adcaptum.service.hosting.version_loader import EXCLUSIVE_SECONDS
from adcaptum.service.models import cores
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.catalogue.entry import State
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.daemon import in_daemon
from adcaptum.service.processes.seat import Seat
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.settings import Settings

MOST_AT_ONCE: Final = 64
"""The most models that load at a time."""


class ModelLoader:
    """Loads all models, and divides the cores among device threads."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        lifecycle: LocalLifecycle,
        showcase: Showcase,
        engines: Dispatcher,
        *,
        unplaced: Mapping[str, str] = MappingProxyType({}),
        seat: Seat | None = None,
    ) -> None:
        """Prepares it.

        Args:
            settings: The settings of the server.
            catalogue: The models.
            lifecycle: Loads them.
            showcase: Shows what serves.
            engines: What runs them.
            unplaced: The reason of each model for which there is no room.
            seat: The place under a supervisor; None without one.
        """
        self._settings = settings
        self._catalogue = catalogue
        self._lifecycle = lifecycle
        self._showcase = showcase
        self._engines = engines
        self._device = torch.device(settings.device)
        self._threads = Threads(settings.device_threads or 1, settings.intra_op_threads or 1)
        self._kept_out: dict[str, tuple[State, str]] = {
            name: (State.FAILED, reason) for name, reason in unplaced.items()
        }
        if seat is not None:
            ended = "it ended worker processes repeatedly"
            self._kept_out |= dict.fromkeys(seat.quarantined, (State.FAILED, ended))
            self._kept_out |= dict.fromkeys(seat.elsewhere, (State.ELSEWHERE, ""))
        one_by_one = seat is not None and seat.one_by_one
        self._places = asyncio.Semaphore(1 if one_by_one else MOST_AT_ONCE)

    async def load_all(self, ready: Callable[[Threads], Awaitable[None]]) -> None:
        """Loads every model.

        Args:
            ready: Awaited once, with the division of the cores, when the server may call itself
                ready: no model loads any more, or `ready_after_seconds` have passed and one serves.
        """
        for entry in self._catalogue:
            await self._showcase.begin(entry.name)
        self._engines.start(self._threads)
        tasks = [asyncio.create_task(self._load(entry.name)) for entry in self._catalogue]
        try:
            late = await self._until_ready(tasks)
            await self._divide_cores()
            await ready(self._threads)
            if late:
                await asyncio.wait(late)
                await self._divide_cores()
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def _until_ready(self, tasks: list[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Waits until the server is ready; returns the tasks of models that still load."""
        if not tasks:
            return set()
        done, late = await asyncio.wait(tasks, timeout=self._settings.ready_after_seconds)
        while late and not any(entry.served for entry in self._catalogue):
            more, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        for task in done:
            task.result()
        return late

    async def _load(self, name: str) -> None:
        """Loads a model, unless it must not be loaded."""
        kept_out = self._kept_out.get(name)
        if kept_out is not None:
            self._catalogue.entry(name).state, self._catalogue.entry(name).reason = kept_out
            return
        async with self._places:
            await self._lifecycle.begin(name)

    async def _divide_cores(self) -> None:
        """Divides the cores by trial on the model whose rows cost most, and starts the threads."""
        settings = self._settings
        if settings.device_threads and settings.intra_op_threads:
            return
        costs = dict(self._showcase.costs)
        try:
            async with asyncio.timeout(EXCLUSIVE_SECONDS):
                measured = await in_daemon(
                    partial(cores.divide_cores, list(costs), costs, self._device), "cores"
                )
        except Exception as error:  # noqa: BLE001  # a model failed or hung; the server can serve
            logs.logger().warning("the cores were not divided by trial", exc_info=error)
            return
        self._threads = Threads(
            settings.device_threads or measured.device,
            settings.intra_op_threads or measured.intra_op,
        )
        self._engines.start(self._threads)
