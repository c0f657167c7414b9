"""Outcomes: what became of a server and of its calls when something was done to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from tests.faults.load import Tally

HEAD = (
    "fault",
    "sent",
    "right",
    "retryable",
    "refused",
    "lost",
    "wrong",
    "recovery, s",
    "p99 of predictions, ms",
    "the faulty calls",
)


def _nothing() -> None:
    """Does nothing."""


@dataclass
class Outcome:
    """The outcome of a fault.

    Attributes:
        fault: Its name.
        tally: The calls of the model `good`.
        answers: The ends of the calls that caused the fault.
        recovery: The seconds until all workers served again, for each time.
        tick: Called after each of the times that something is done.
        end: When it has to be over, on the monotonic clock, however often it was done.
    """

    fault: str
    tally: Tally = field(default_factory=Tally)
    answers: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    tick: Callable[[], None] = _nothing
    end: float = inf

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return monotonic() > self.end

    @property
    def failed(self) -> bool:
        """Whether a call was lost or answered wrongly."""
        return bool(self.tally.lost or self.tally.wrong)

    @property
    def row(self) -> str:
        """A row of the table; of several recoveries the longest."""
        tally = self.tally
        answers = ", ".join(
            f"{self.answers.count(each)} {each}" for each in sorted({*self.answers})
        )
        cells = (
            self.fault,
            tally.sent,
            tally.right,
            tally.retryable,
            sum(tally.refused.values()),
            tally.lost,
            tally.wrong,
            f"{max(self.recovery):.1f}" if self.recovery else "",
            f"{1000 * tally.p99:.0f}",
            answers,
        )
        return f"| {' | '.join(map(str, cells))} |"


def head() -> str:
    """Returns the head of the table."""
    return f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|"
