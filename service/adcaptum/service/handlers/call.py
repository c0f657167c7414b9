"""What is known of a call beside its request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A call.

    Attributes:
        id: Of the request, for logs.
        arrival: When it came, on the monotonic clock, in seconds.
        deadline: When its answer is due, on the same clock; None for never.
        caller: Who asks: callers share the device evenly.
    """

    id: str
    arrival: float
    deadline: float | None = None
    caller: str = ""
