"""Timings of a request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Timings of a request, measured by the server.

    Attributes:
        queue_s: Seconds from the arrival to the first device batch with a row of the request.
        compute_s: Seconds during which device batches with rows of the request ran: concurrent
            batches count once, batches shared with other requests count in full.
        total_s: Seconds from the arrival to the reply.
        batches: Number of device batches with rows of the request.
    """

    queue_s: float
    compute_s: float
    total_s: float
    batches: int
