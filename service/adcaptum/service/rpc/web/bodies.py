"""Bodies of HTTP requests: bounded before they are read, and translated apart from the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from starlette.requests import Request

from adcaptum.service.errors import Cancelled, InvalidRequest, Reason, TooBusy

SMALL: Final = 1 << 14
"""The largest body or answer, in bytes, that is translated in the event loop: in a millisecond."""

TRANSLATORS: Final = 2
"""The most larger ones that are translated at a time: each takes many times its bytes."""

RETRY_SECONDS: Final = 1.0

T = TypeVar("T")


class Bodies:
    """The bodies of the requests that are being received."""

    def __init__(self, most_bytes: int, most_together: int) -> None:
        """Prepares it.

        Args:
            most_bytes: The largest body.
            most_together: The most bytes of all bodies that wait or are translated.
        """
        self._most_bytes = most_bytes
        self._most_together = most_together
        self._held = 0
        self._translators = asyncio.Semaphore(TRANSLATORS)

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[list[bytes]]:
        """Gives the parts of a request's body, and counts their bytes as long as they are needed.

        Raises:
            InvalidRequest: It is too large.
            TooBusy: Too many bytes are held already.
            Cancelled: Its client has gone.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self._too_large(declared)
        parts: list[bytes] = []
        held = 0
        try:
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Cancelled("the caller went away")
                part: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                held += len(part)
                self._held += len(part)
                self._check(held)
                parts.append(part)
            yield parts
        finally:
            self._held -= held

    async def translate(self, work: Callable[[], T], nbytes: int) -> T:
        """Translates what has a number of bytes, in a thread if they are many."""
        if nbytes <= SMALL:
            return work()
        async with self._translators:
            return await asyncio.to_thread(work)

    def _check(self, held: int) -> None:
        if held > self._most_bytes:
            raise self._too_large(f"more than {self._most_bytes}")
        if self._held > self._most_together and self._held > held:
            raise TooBusy(
                f"the bodies of other requests have {self._held - held} bytes; at most "
                f"{self._most_together} are taken",
                retry_s=RETRY_SECONDS,
                limit="bytes",
            )

    def _too_large(self, size: str) -> InvalidRequest:
        return InvalidRequest(
            "request",
            f"{size} bytes; at most {self._most_bytes} are taken",
            reason=Reason.REQUEST_TOO_LARGE,
        )
