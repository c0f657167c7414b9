"""HTTP connections with a time limit: idle ones are closed, the oldest first if there are many."""

import asyncio
from time import monotonic
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from adcaptum.service.rpc.web.guarded import CERTIFIED

PATIENCE_SECONDS: Final = 10.0
"""The time without an answered request after which a connection is closed, as long as no request
is being served on it; and the time in which a client has to take some of an answer."""

MOST_CONNECTIONS: Final = 256
"""The most connections at a time on which no request is served. Beyond that the one that has waited
longest is closed: a client that opens many must not keep probes out."""


class ImpatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which would wait for ever for the end of a request's headers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._progress = monotonic()
        self._answered: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    @property
    def serves(self) -> bool:
        """True if a request is being served, which bounds the time of its body itself."""
        # None before the first request, whatever its type says.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time limit."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, CERTIFIED: bool(transport.get_extra_info("peercert"))}
        others = [each for each in self.connections if isinstance(each, ImpatientProtocol)]
        if len(others) > MOST_CONNECTIONS:
            idle = [each for each in others if not each.serves]
            if len(idle) > MOST_CONNECTIONS:
                min(idle, key=_progress).give_up()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the time limit."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Closes the connection without sending the rest."""
        self.connections.discard(self)
        self.transport.abort()

    def _look(self) -> None:
        """Closes the connection if nothing was answered since the last time."""
        now = monotonic()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and cycle.response_complete and cycle is not self._answered:
            self._answered, self._progress = cycle, now
        unsent = self.transport.get_write_buffer_size()
        if self.serves and (not unsent or unsent != self._unsent):
            self._progress = now
        self._unsent = unsent
        if now - self._progress > PATIENCE_SECONDS:
            self.give_up()
            return
        self._timer = self.loop.call_later(PATIENCE_SECONDS / 4, self._look)


def _progress(connection: ImpatientProtocol) -> float:
    return connection._progress  # noqa: SLF001 - of this module's own class
