"""The router: chooses the worker of a request.

Equal requests go to one worker, where they share a computation and a stored answer: workers are
ordered by the hash of the request and their ids (rendezvous hashing; Thaler and Ravishankar, 1998),
and the first takes it that has no more than a bounded share of the requests under way (consistent
hashing with bounded loads; Mirrokni, Thorup and Zadimoghaddam, 2018).
"""

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Collection, Sequence
from math import ceil
from time import monotonic
from typing import Final

from adcaptum.service.errors import DeadlineExceeded, Reason, Unavailable
from adcaptum.service.supervisor.views import SlotView, WorkerView

SHARE: Final = 1.25
"""The most requests of a worker, in times of an even share."""

WAIT_STEP_SECONDS: Final = 0.05
"""The time between two looks for a worker, while there is none."""


class Router:
    """The choice among the processes of the slots."""

    def __init__(
        self,
        slots: Sequence[SlotView],
        wait_seconds: float,
        is_suspect: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Prepares it.

        Args:
            slots: The places of the workers.
            wait_seconds: The longest wait for a worker.
            is_suspect: Returns whether a model has ended a worker lately.
        """
        self._is_suspect = is_suspect
        self._slots = slots
        self._wait_seconds = wait_seconds
        self._has_served = False

    async def choose(
        self, model: str, key: int, deadline: float | None, avoided: Collection[WorkerView] = ()
    ) -> WorkerView:
        """Returns the process for a request; waits while none answers calls.

        Args:
            model: The name of its model; empty if it has none.
            key: Equal for equal requests.
            deadline: When its answer is due, on the monotonic clock; None for never.
            avoided: Processes that lost it; they are taken only where there are no others.

        Raises:
            Unavailable: No worker came back in time.
            DeadlineExceeded: The deadline came first.
        """
        end = monotonic() + self._wait_seconds
        while True:
            now = monotonic()
            found: Sequence[WorkerView] = self._ready(model, avoided)
            if found:
                self._has_served = True
                found = self._confined(model, found)
            elif now >= end or not (model and self._has_served):
                # One that loads can describe itself, and say that it loads.
                found = [each for each in self._living if not each.stopping]
            if found:
                return bounded(found, key)
            if deadline is not None and now >= deadline:
                raise DeadlineExceeded("the deadline came before a worker served")
            if now >= end:
                raise Unavailable(
                    "No worker serves at the moment.", reason=Reason.WORKER_LOST, retry_s=1.0
                )
            await asyncio.sleep(WAIT_STEP_SECONDS)

    def _confined(self, model: str, found: Sequence[WorkerView]) -> Sequence[WorkerView]:
        """Returns one process for a model that has ended another lately, or else those given.

        While no other process serves there is none: such a model never takes the last one.
        """
        if len(self._slots) == 1 or not self._is_suspect(model):
            return found
        if sum(each.ready for each in self._living) == 1:
            return ()
        return (min(found, key=lambda each: each.seat.worker),)

    @property
    def _living(self) -> list[WorkerView]:
        """The processes that answer calls."""
        processes = [slot.process for slot in self._slots]
        return [each for each in processes if each is not None and each.listening]

    def _ready(self, model: str, avoided: Collection[WorkerView]) -> list[WorkerView]:
        """Returns the processes that serve the model, or else those that serve any."""
        living = self._living
        tests: tuple[Callable[[WorkerView], bool], ...] = (
            lambda each: (
                each.ready and each.prompt and model in each.serving and each not in avoided
            ),
            lambda each: each.ready and model in each.serving and each not in avoided,
            lambda each: each.ready and model in each.serving,
            lambda each: each.ready and each not in avoided,
            lambda each: each.ready,
        )
        for test in tests:
            found = [each for each in living if test(each)]
            if found:
                return found
        return []


def key_of(raw: bytes) -> int:
    """Returns a number that is equal for equal requests."""
    return zlib.crc32(raw)


def bounded(processes: Sequence[WorkerView], key: int) -> WorkerView:
    """Returns the first process in the key's order with less than its share of the requests."""
    if len(processes) == 1:
        return processes[0]
    under_way = sum(each.outstanding for each in processes)
    most = ceil(SHARE * (under_way + 1) / len(processes))
    ordered = sorted(processes, key=lambda each: _rank(key, each.seat.worker))
    return next((each for each in ordered if each.outstanding < most), ordered[0])


def _rank(key: int, worker: str) -> bytes:
    return hashlib.blake2b(f"{key} {worker}".encode(), digest_size=8).digest()
