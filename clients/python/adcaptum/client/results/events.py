"""What ``explain_stream`` reports on the way."""

from dataclasses import dataclass
from typing import TypeAlias

from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.explanations import Explanations


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is valid and waits for its turn: the first event.

    Attributes:
        request_id: The request's id, as in the server's log.
        rows: How many rows it will take, as far as is known beforehand.
        rows_ahead: How many rows of other requests wait, of its class and of those before it.
        position: How many requests are under way in these classes; they share the device.
        seconds: How long it will take among them, as far as is known.
    """

    request_id: str
    rows: int
    rows_ahead: int
    position: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """How far the request is.

    Attributes:
        rows_done: How many of its rows are done.
        rows: How many it will take, as far as is known.
        explanations: The best explanations so far; empty for methods that have none before their
            end.
    """

    rows_done: int
    rows: int
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Final:
    """The answer: the last event.

    Attributes:
        explanations: What ``explain`` would have returned.
    """

    explanations: Explanations


Event: TypeAlias = Accepted | Partial | Final
