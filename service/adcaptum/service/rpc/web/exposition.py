"""The exposition: all metrics as text, written in a thread, once for all waiting requests."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Encode = Callable[[CollectorRegistry], bytes]

REST: Final = 4.0
"""The pause after a writing, in times of the writing: at most a fifth of one core writes metrics,
however often they are requested."""


class Exposition:
    """The writer of a registry's metrics.

    Requests that come while the metrics are being written share the next text, so that no text is
    older than its request. For one event loop.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._next: dict[str, asyncio.Task[bytes]] = {}
        self._writing = asyncio.Lock()
        self._free = 0.0

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """Returns the metrics in a format that a client takes, and the name of the format.

        Args:
            accept: The formats that it takes, as the header `Accept` has them.
        """
        encode, content_type = choose_encoder(accept)
        return await self.text(encode, content_type), content_type

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
            # Later requests need a text that includes later events.
            del self._next[content_type]
            begin = monotonic()
            try:
                return await asyncio.to_thread(encode, self._registry)
            finally:
                end = monotonic()
                self._free = end + REST * (end - begin)
