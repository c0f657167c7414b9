"""Events of ``explain_stream``."""

from dataclasses import dataclass
from typing import TypeAlias

from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.explanations import Explanations


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first event: the request is valid and queued.

    Attributes:
        request_id: The request's id, as in the server's log.
        rows: Estimated number of rows of the request.
        rows_ahead: Number of waiting rows of other requests of its priority and of higher ones.
        position: Number of running requests of these priorities; they share the device.
        seconds: Estimated seconds until the answer.
    """

    request_id: str
    rows: int
    rows_ahead: int
    position: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Progress, with the best explanations so far.

    Attributes:
        rows_done: Number of finished rows.
        rows: Estimated total number of rows.
        explanations: The best explanations so far; empty for methods without partial results.
    """

    rows_done: int
    rows: int
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Final:
    """The last event: the answer.

    Attributes:
        explanations: The value that ``explain`` would have returned.
    """

    explanations: Explanations


Event: TypeAlias = Accepted | Partial | Final
