"""Calls: the facts about a request that its message does not hold."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Final

CLOCK_SECONDS: Final = 0.05
"""The time by which a caller may end a call before the server sees its deadline."""


@dataclass(slots=True)
class Spent:
    """The price of an answer.

    Attributes:
        seconds: The expected seconds of the device for the rows that were evaluated for it; 0 if it
            is another request's answer.
    """

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """The facts about one call.

    Attributes:
        id: The request's id, for logs and answers.
        arrival: When it arrived, on the monotonic clock, in seconds.
        deadline: When its answer is due, on the same clock; None for never.
        caller: The caller's name; callers share the device evenly.
        nbytes: The size of the serialised request.
        most_rows: The most rows that its caller may have under way; None: as many as any.
        spent: The price of its answer, known when it is answered.
    """

    id: str
    arrival: float
    deadline: float | None = None
    caller: str = ""
    nbytes: int = 0
    most_rows: int | None = None
    spent: Spent = field(default_factory=Spent, compare=False)

    @property
    def end_reason(self) -> str:
        """The reason of a cancelled call's end: `deadline` or `cancelled`."""
        late = self.deadline is not None and monotonic() > self.deadline - CLOCK_SECONDS
        return "deadline" if late else "cancelled"
