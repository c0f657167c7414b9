"""Where the time of a request went."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a request went, as the server measured it.

    Attributes:
        queue_s: Seconds from the arrival to the first device batch with a row of the request.
        compute_s: Seconds in which device batches with rows of the request were under way: those
            side by side count once, those shared with other requests whole.
        total_s: Seconds from the arrival to the reply.
        batches: How many device batches held rows of the request.
    """

    queue_s: float
    compute_s: float
    total_s: float
    batches: int
