"""Restarts of workers that callers of a further front ask for; the first front does them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from adcaptum.service.errors import Reason, TooBusy, Unavailable
from adcaptum.service.front.following.bulletin import line
from adcaptum.service.supervisor.restarts import RETRY_SECONDS


class RemoteRestarts:
    """The restarts that the first front was asked for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Prepares it.

        Args:
            writer: The connection to the first front.
        """
        self._writer = writer
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}

    async def restart(self, workers: Sequence[str]) -> None:
        """Replaces workers; see `Restarts.restart`."""
        self._number += 1
        number = self._number
        end = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(line({"restart": [*workers], "number": number}))
        try:
            told = await end
        finally:
            del self._waiting[number]
        if told["reason"] == Reason.QUEUE_FULL:
            raise TooBusy(told["error"], retry_s=RETRY_SECONDS, limit="restarts")
        if told["error"]:
            reason = Reason.WORKER_LOST
            raise Unavailable(told["error"], reason=reason, retry_s=RETRY_SECONDS)

    def ended(self, told: Mapping[str, Any]) -> None:
        """Notes the end of a restart."""
        end = self._waiting.get(told["restarted"])
        if end is not None and not end.done():
            end.set_result(told)
