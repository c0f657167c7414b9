"""The bounds of reading one request, in the event loop or in a thread."""

from dataclasses import dataclass
from time import monotonic

from adcaptum.service.errors import Cancelled, DeadlineExceeded


@dataclass(slots=True, eq=False)
class Reading:
    """The bounds of reading one request.

    Attributes:
        max_image_pixels: The most pixels of an encoded image.
        due: When the answer is due, on the monotonic clock; None for never.
        abandoned: Set, by any thread, when nobody waits for the request any longer.
    """

    max_image_pixels: int
    due: float | None = None
    abandoned: bool = False

    def check(self) -> None:
        """Ends the reading of a request that nobody waits for.

        Raises:
            DeadlineExceeded: Its deadline has passed.
            Cancelled: Its caller went away.
        """
        if self.abandoned:
            raise Cancelled("the caller went away while the request was read")
        if self.due is not None and monotonic() > self.due:
            raise DeadlineExceeded("the deadline came while the request was read")
