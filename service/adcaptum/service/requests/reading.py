"""The bounds of reading one request, in the event loop or in a thread."""

from dataclasses import dataclass
from time import monotonic
from typing import Final

from adcaptum.service.errors import Cancelled, DeadlineExceeded

USUAL_TEXT_BYTES: Final = 1 << 20
"""The usual limit on the bytes of all texts of a request: tokenising them takes a second."""


@dataclass(slots=True, eq=False)
class Reading:
    """The bounds of reading one request.

    Attributes:
        max_image_pixels: The most pixels of an encoded image.
        due: When the answer is due, on the monotonic clock; None for never.
        abandoned: Set, by any thread, when nobody waits for the request any longer.
        max_text_bytes: The most bytes of all texts together.
    """

    max_image_pixels: int
    due: float | None = None
    abandoned: bool = False
    max_text_bytes: int = USUAL_TEXT_BYTES

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
