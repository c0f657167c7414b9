"""The router: chooses the worker of a request.

Rules, among the workers that serve the request's model:
1. A request that equals one that a worker has, or whose answer it keeps, goes there: it shares the
   computation or the answer, and costs next to nothing.
2. Else the first worker takes it that has no request, in an order of the workers by the hash of
   the request (rendezvous hashing; Thaler and Ravishankar, 1998): none waits while a worker idles.
3. Else, in the same order, the first one whose requests are expected to take less than a bounded
   share of the seconds that all have (consistent hashing with bounded loads; Mirrokni, Thorup and
   Zadimoghaddam, 2018).
"""

import asyncio
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple

from adcaptum.service.errors import DeadlineExceeded, Reason, Unavailable
from adcaptum.service.front.costs import LEAST_SECONDS, Costs
from adcaptum.service.supervisor.views import SlotView, WorkerView

SHARE: Final = 1.25
"""The most seconds of a worker's requests, in times of an even share."""

WAIT_STEP_SECONDS: Final = 0.05
"""The time between two looks for a worker, while there is none."""

MOST_HOMES: Final = 10_000
"""The most requests whose worker is remembered; the ones longest unused go first."""


class Asked(NamedTuple):
    """The facts about a request that decide its worker.

    Attributes:
        model: The name of its model; empty if it has none.
        key: Equal for equal requests.
        kinds: What it is an example of, see `Costs`.
        shares: Whether equal requests share a computation and an answer.
    """

    model: str
    key: int
    kinds: Sequence[Hashable] = ()
    shares: bool = False


@dataclass(slots=True)
class Trip:
    """A request at a worker.

    Attributes:
        seconds: The seconds of a device that its computation took, as the worker reports; 0: it had
            another's answer. None: it has no answer.
    """

    seconds: float | None = None


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
        self._costs = Costs()
        # The worker of a request, by its key, that has it or keeps its answer.
        self._homes: OrderedDict[int, WorkerView] = OrderedDict()

    async def choose(
        self, asked: Asked, deadline: float | None, avoided: Collection[WorkerView] = ()
    ) -> WorkerView:
        """Returns the process for a request; waits while none answers calls.

        Args:
            asked: The request.
            deadline: When its answer is due, on the monotonic clock; None for never.
            avoided: Processes that lost it; they are taken only where there are no others.

        Raises:
            Unavailable: No worker came back in time.
            DeadlineExceeded: The deadline came first.
        """
        end = monotonic() + self._wait_seconds
        while True:
            now = monotonic()
            found: Sequence[WorkerView] = self._ready(asked.model, avoided)
            if found:
                self._has_served = True
                found = self._confined(asked.model, found)
            elif now >= end or not (asked.model and self._has_served):
                # One that loads can describe itself, and say that it loads.
                found = [each for each in self._holders(asked.model) if not each.stopping]
            if found:
                return self._among(found, asked)
            if deadline is not None and now >= deadline:
                raise DeadlineExceeded("the deadline came before a worker served")
            if now >= end:
                raise Unavailable(
                    "No worker serves at the moment.", reason=Reason.WORKER_LOST, retry_s=1.0
                )
            await asyncio.sleep(WAIT_STEP_SECONDS)

    def _confined(self, model: str, found: Sequence[WorkerView]) -> Sequence[WorkerView]:
        """Returns one process for a model that has ended another lately, or else those given.

        While no other process serves there is none: such a model never takes the last one. Several
        such models have different processes, as far as that leaves one to all others: who of them
        ends workers shows where they are apart.
        """
        if len(self._slots) == 1 or not self._is_suspect(model):
            return found
        ready = sum(each.ready for each in self._living)
        if ready == 1:
            return ()
        names = {name for slot in self._slots for name in slot.models}
        rank = sum(name < model and self._is_suspect(name) for name in names)
        ordered = sorted(found, key=lambda each: each.seat.worker)
        return (ordered[rank % min(len(ordered), ready - 1)],)

    @contextmanager
    def sent(self, process: WorkerView, asked: Asked) -> Iterator[Trip]:
        """Counts a request among those of a process, and learns from its end.

        Args:
            process: The process that gets it.
            asked: The request.
        """
        at_home = asked.shares and self._homes.get(asked.key) is process
        seconds = LEAST_SECONDS if at_home else self._costs.expected(asked.kinds)
        if asked.shares:
            self._homes[asked.key] = process
            self._homes.move_to_end(asked.key)
            while len(self._homes) > MOST_HOMES:
                self._homes.popitem(last=False)
        process.outstanding += 1
        process.outstanding_seconds += seconds
        trip = Trip()
        try:
            yield trip
        finally:
            process.outstanding -= 1
            # Sums of what comes and goes drift.
            left = max(0.0, process.outstanding_seconds - seconds)
            process.outstanding_seconds = left if process.outstanding else 0.0
            if trip.seconds:
                self._costs.learn(asked.kinds, trip.seconds)
            # Without an answer nothing is kept, nor where an equal request had to be computed.
            if trip.seconds if at_home else trip.seconds is None:
                self._homes.pop(asked.key, None)

    def _among(self, found: Sequence[WorkerView], asked: Asked) -> WorkerView:
        if len(found) == 1:
            return found[0]
        if asked.shares:
            home = self._homes.get(asked.key)
            if home is not None and home in found:
                return home
        return bounded(found, asked.key, self._costs.expected(asked.kinds))

    @property
    def _living(self) -> list[WorkerView]:
        """The processes that answer calls."""
        processes = [slot.process for slot in self._slots]
        return [each for each in processes if each is not None and each.listening]

    def _holders(self, model: str) -> list[WorkerView]:
        """Returns the processes that have the model; all that answer if no worker has it.

        A model that some worker has is not asked of others, even while that one is replaced.
        """
        if any(model in slot.models for slot in self._slots):
            return [each for each in self._living if model in each.models]
        return self._living

    def _ready(self, model: str, avoided: Collection[WorkerView]) -> list[WorkerView]:
        """Returns the processes that serve the model, or else those that can say why."""
        ready = [each for each in self._holders(model) if each.ready]
        tests: tuple[Callable[[WorkerView], bool], ...] = (
            lambda each: each.prompt and model in each.serving and each not in avoided,
            lambda each: model in each.serving and each not in avoided,
            lambda each: model in each.serving,
            lambda each: each not in avoided,
        )
        for test in tests:
            found = [each for each in ready if test(each)]
            if found:
                return found
        return ready


def key_of(raw: bytes) -> int:
    """Returns a number that is equal for equal requests."""
    return zlib.crc32(raw)


def bounded(processes: Sequence[WorkerView], key: int, seconds: float) -> WorkerView:
    """Returns the first process in the key's order that idles, or else has less than its share.

    Args:
        processes: The processes.
        key: Equal for equal requests.
        seconds: The expected seconds of the request.
    """
    ordered = sorted(processes, key=lambda each: _rank(key, each.seat.worker))
    idle = next((each for each in ordered if not each.outstanding), None)
    if idle is not None:
        return idle
    under_way = sum(each.outstanding_seconds for each in processes)
    most = SHARE * (under_way + seconds) / len(processes)
    return next(each for each in ordered if each.outstanding_seconds < most)


def _rank(key: int, worker: str) -> bytes:
    return hashlib.blake2b(f"{key} {worker}".encode(), digest_size=8).digest()
