"""The supervisor: keeps a process in each slot, and counts who ended them."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from adcaptum.service import logs
from adcaptum.service.lifecycle.wanted import Wanted
from adcaptum.service.placement.capacities import capacities
from adcaptum.service.placement.plan import Demand, plan
from adcaptum.service.placement.stored import demands
from adcaptum.service.processes.exits import CANNOT_START
from adcaptum.service.processes.journal import LOADING
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor import launch
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.model_deaths import ModelDeaths
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.worker_process import WorkerProcess


class Supervisor:
    """The workers of a server.

    Attributes:
        slots: Their places.
        deaths: The deaths that models have caused.
        wanted: The versions of models that are to be in memory.
        hopeless: Set if no worker can ever start.
    """

    def __init__(
        self,
        settings: Settings,
        devices: list[str],
        ended: Callable[[Slot, WorkerProcess, Death], None],
    ) -> None:
        """Prepares the workers; `start` starts them.

        Args:
            settings: The settings of the server.
            devices: The device of each worker.
            ended: Called when a process has ended that was not told to.
        """
        # Paths of sockets are short.
        self._folder = Path(tempfile.mkdtemp(prefix="adcaptum-"))
        self._ended = ended
        self.deaths = ModelDeaths(settings.quarantine_deaths, settings.quarantine_seconds)
        self.hopeless = asyncio.Event()
        self.wanted = Wanted(settings.repository)
        cores = launch.own_cores(settings, devices)
        self.slots = [
            Slot(
                str(index),
                device,
                settings=launch.worker_settings(settings, device, len(devices)),
                core=cores[index] if cores else None,
                folder=self._folder,
                deaths=self.deaths,
                wanted=self.wanted,
                ended=self._record,
            )
            for index, device in enumerate(devices)
        ]
        self._repository = settings.repository
        self._capacities = capacities(settings, devices)
        self._sizes: dict[str, int] = {}
        self._place(demands(self._repository))
        self._tasks: list[asyncio.Task[None]] = []
        self._rolling = asyncio.Lock()

    @property
    def folder(self) -> Path:
        """The folder of the sockets of the server's processes."""
        return self._folder

    def start(self) -> None:
        """Starts the workers."""
        self._tasks = [asyncio.create_task(slot.run()) for slot in self.slots]

    async def roll(self, workers: Collection[str] = ()) -> bool:
        """Replaces workers one after another, none before the next one serves.

        Args:
            workers: Their ids; empty: all. Then models are placed anew, and those in quarantine get
                another chance.

        Returns:
            Whether that worked.
        """
        async with self._rolling:
            if not workers:
                self.deaths.forget()
                # The repository may have other models by now.
                self._place(await asyncio.to_thread(demands, self._repository))
            for slot in self.slots:
                if (not workers or slot.id in workers) and not await slot.roll():
                    return False
        logs.logger().info("workers replaced", workers=len(workers) or len(self.slots))
        return True

    async def stop(self) -> None:
        """Has all workers finish their requests and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(slot.stop() for slot in self.slots))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def place(self, demand: Demand) -> str:
        """Gives a model that has come its workers; those of others stay as they are.

        Returns:
            The reason why no worker has it; empty if one does.
        """
        left = [
            replace(each, nbytes=None if each.nbytes is None else each.nbytes - self._taken(slot))
            for each, slot in zip(self._capacities, self.slots, strict=True)
        ]
        made = plan([demand], left)
        self._sizes[demand.name] = demand.nbytes
        for slot in self.slots:
            if made.models[slot.id]:
                slot.gain(demand.name)
        workers = [slot.id for slot in self.slots if demand.name in slot.models]
        logs.logger().info("model placed", model=demand.name, workers=workers)
        return made.unplaced.get(demand.name, "")

    def _taken(self, slot: Slot) -> int:
        """Returns the memory that a worker's models take."""
        return sum(self._sizes.get(name, 0) for name in slot.models)

    def _place(self, wanted: list[Demand]) -> None:
        """Decides which worker has which models, and says so in the log."""
        made = plan(wanted, self._capacities)
        self._sizes = {each.name: each.nbytes for each in wanted}
        self.wanted.read(self._sizes)
        log = logs.logger()
        log.info("models placed", workers={each.id: made.models[each.id] for each in self.slots})
        for model, reason in made.unplaced.items():
            log.error("a model has no place", model=model, reason=reason)
        for model, reason in made.short.items():
            log.warning("a model has fewer replicas than it wants", model=model, reason=reason)
        for slot in self.slots:
            slot.assign(made)

    def _record(self, slot: Slot, process: WorkerProcess, death: Death) -> None:
        if death.status == CANNOT_START and process.served_from is None and slot.restarts == 1:
            self.hopeless.set()
        blamed = death.models
        if any(entry.kind == LOADING for entry in death.running) and len(blamed) > 1:
            # Any of them may have done it; the next process loads them one by one.
            blamed = frozenset()
        for model in self.deaths.add(blamed, death.cause):
            logs.logger().error(
                "a model is quarantined", model=model, reason=self.deaths.quarantined[model]
            )
        self._ended(slot, process, death)
