"""The exposition: all metrics as text, written apart from the event loop, once for all who ask."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry

Encode = Callable[[CollectorRegistry], bytes]

REST: Final = 4.0
"""After a writing nothing is written for so many times as long: it takes a fifth of the time of one
core at most, however often metrics are asked for."""


class Exposition:
    """Writes the metrics of a registry.

    Whoever asks while the metrics are being written gets the next text together with all others who
    do, so that none is older than its request. Used in one event loop.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._next: dict[str, asyncio.Task[bytes]] = {}
        self._writing = asyncio.Lock()
        self._free = 0.0

    async def text(self, encode: Encode, content_type: str) -> bytes:
        """Returns the metrics in a format.

        Args:
            encode: Writes them.
            content_type: The name of the format.
        """
        task = self._next.get(content_type)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._write(encode, content_type))
            self._next[content_type] = task
        return await asyncio.shield(task)

    async def _write(self, encode: Encode, content_type: str) -> bytes:
        async with self._writing:
            await asyncio.sleep(max(0.0, self._free - monotonic()))
            # Whoever asks from now on may want to see what happens from now on.
            del self._next[content_type]
            begin = monotonic()
            try:
                return await asyncio.to_thread(encode, self._registry)
            finally:
                end = monotonic()
                self._free = end + REST * (end - begin)
