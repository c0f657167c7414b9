"""Joint lanes: the places where joint works run, and the bounds of one work there.

A joint work runs where each of its members would run alone, so that nobody else waits longer for it
than for them.
"""

from collections.abc import Hashable, Mapping
from typing import Final, Protocol

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import Cost, Forecast
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.work import Work

MOST_SECONDS: Final = 0.1
"""The longest joint work in device threads. Its rows take turns with those of others, batch by
batch; its members have their answers when all of its rows are evaluated."""

MOST_SHARED_SECONDS: Final = 0.025
"""The same of several callers, about a batch: what one of them asks keeps no other waiting."""

MOST_BYTES: Final = 4 << 20
"""The most memory of a joint work in device threads; the event loop writes its answers."""


class JointLane(Protocol):
    """The place where the joint works of some requests run."""

    @property
    def is_idle(self) -> bool:
        """True if no rows wait there: those of new works are all evaluated next."""
        ...

    def takes(self, model: ServedModel, cost: Cost, *, members: int, callers: int = 1) -> bool:
        """Returns whether a work may run there.

        Args:
            model: The model.
            cost: Its cost.
            members: The number of requests of which it is the sum.
            callers: The number of their callers.
        """
        ...

    def forecast(self, model: ServedModel, cost: Cost, priority: Priority) -> Forecast:
        """Estimates the time of a work that arrives now."""
        ...

    def submit(self, work: Work, callers: Mapping[Hashable, int]) -> None:
        """Starts a work, at the latest with the next `step`.

        Args:
            work: The work.
            callers: The number of requests of each caller that it answers.

        Raises:
            ServiceError: There is no room for it.
        """
        ...

    def step(self) -> None:
        """Begins what has been submitted."""
        ...

    def cancel(self, work: Work, reason: str) -> None:
        """Stops a work, with a reason for the metrics."""
        ...


class LoopLane:
    """The event loop, for requests whose rows are light."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.forecast = dispatcher.forecast
        self.submit = dispatcher.submit_to_loop
        self.step = dispatcher.step_loop
        self.cancel = dispatcher.cancel

    @property
    def is_idle(self) -> bool:
        """True if no rows wait there."""
        return self._dispatcher.loop_is_idle

    def takes(
        self,
        model: ServedModel,
        cost: Cost,
        *,
        members: int,
        callers: int = 1,  # noqa: ARG002 - such works are short
    ) -> bool:
        """Returns whether a work may run there."""
        return self._dispatcher.runs_in_loop(model, cost, members=members)


class ThreadLane:
    """The device threads, for requests of few rows that are too much for the event loop."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.forecast = dispatcher.forecast
        self.submit = dispatcher.submit_to_threads
        self.cancel = dispatcher.cancel

    @property
    def is_idle(self) -> bool:
        """True if no rows wait there."""
        return self._dispatcher.threads_are_idle

    def takes(self, model: ServedModel, cost: Cost, *, members: int, callers: int = 1) -> bool:
        """Returns whether a work may run there; one that fills the bounds alone gains nothing."""
        if cost.plans_apart or cost.nbytes > MOST_BYTES:
            return False
        most = MOST_SECONDS if callers == 1 else MOST_SHARED_SECONDS
        seconds = self._dispatcher.thread_seconds(model, cost)
        return seconds * (2 if members == 1 else 1) <= most

    def step(self) -> None:
        """Does nothing: threads begin works when they are submitted."""
