"""The mirror: the workers as the first front tells of them."""

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from adcaptum.service.front.following import bulletin
from adcaptum.service.supervisor.views import SlotView, WorkerView

IDLE_SECONDS: Final = 0.25
"""The time between two looks at whether a process that has gone has no calls any more."""


class Mirror:
    """The workers, as of the last bulletin.

    Attributes:
        slots: Their places.
        quarantined: The reason of each model that is out of service.
    """

    def __init__(self, most_bytes: int) -> None:
        """Prepares it.

        Args:
            most_bytes: The largest message.
        """
        self.slots: list[SlotView] = []
        self.quarantined: dict[str, str] = {}
        self._most_bytes = most_bytes
        self._suspects: frozenset[str] = frozenset()
        # By their sockets, those that end included.
        self._processes: dict[str, WorkerView] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def is_suspect(self, model: str) -> bool:
        """Returns whether a model has ended a worker lately."""
        return model in self._suspects

    async def update(self, told: Mapping[str, Any]) -> None:
        """Takes a bulletin over."""
        for index, each in enumerate(told["slots"]):
            if index == len(self.slots):
                self.slots.append(SlotView(each["id"], each["device"]))
            slot = self.slots[index]
            slot.restarts, slot.reason = each["restarts"], each["reason"]
            slot.models = tuple(each["models"])
            slot.process = None if each["process"] is None else await self._process(each["process"])
        self.quarantined.clear()
        self.quarantined.update(told["quarantined"])
        self._suspects = frozenset(told["suspects"])
        for socket, death in told["deaths"]:
            process = self._processes.get(socket)
            if process is not None and not process.died.done():
                process.died.set_result(bulletin.death(death))
        present = {id(slot.process) for slot in self.slots}
        for socket, process in [*self._processes.items()]:
            if id(process) not in present:
                del self._processes[socket]
                process.ready = process.listening = False
                task = asyncio.create_task(_close(process))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def _process(self, told: Mapping[str, Any]) -> WorkerView:
        socket = told["seat"]["socket"]
        process = self._processes.get(socket)
        if process is None:
            process = WorkerView(bulletin.seat(told["seat"]), told["pid"], self._most_bytes)
            self._processes[socket] = process
        process.models = frozenset(told["models"])
        process.serving, process.known = frozenset(told["serving"]), frozenset(told["known"])
        process.stopping, process.answered = told["stopping"], inf if told["prompt"] else -inf
        if told["listening"]:
            await process.link.connect()
        process.listening, process.ready = told["listening"], told["ready"]
        return process


async def _close(process: WorkerView) -> None:
    """Closes the connections to a process when its calls have ended by themselves."""
    while process.outstanding:  # noqa: ASYNC110  # in no hurry
        await asyncio.sleep(IDLE_SECONDS)
    await process.link.close()
