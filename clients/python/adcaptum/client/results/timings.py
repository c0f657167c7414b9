"""Timings of a request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Parts of the time of a request, measured by the server.

    Attributes:
        queue_s: Seconds from the arrival to the first batch with a row of the request.
        compute_s: Seconds in which at least one batch with rows of the request ran, shared ones in
            full; at most ``total_s``.
        total_s: Seconds from the arrival to the reply.
        batches: Number of batches with rows of the request.
    """

    queue_s: float
    compute_s: float
    total_s: float
    batches: int
