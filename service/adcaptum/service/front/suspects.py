"""The turn of suspects: requests with a strike are sent one at a time, over all fronts."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

STEP_SECONDS: Final = 0.02
"""The time between two tries while another front's suspect has its turn."""


class Suspects:
    """The turn, which one request has at a time."""

    def __init__(self, file: Path | None = None) -> None:
        """Prepares it.

        Args:
            file: A file that all fronts lock; None: there is one front. The kernel ends the lock
                of a front that ends.
        """
        self._file = file
        self._own = asyncio.Lock()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Gives the turn when it is free."""
        async with self._own:
            if self._file is None:
                yield
                return
            file = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                while not _locked(file):  # noqa: ASYNC110  # the file has no event
                    await asyncio.sleep(STEP_SECONDS)
                yield
            finally:
                os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
