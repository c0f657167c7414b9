"""Exchanges: a request of HTTP -> a call of this server -> its answer; ends with its client."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from starlette.requests import Request

from adcaptum.service.rpc.local.calls import Answer, Envelope, LocalCalls
from adcaptum.service.rpc.web import envelopes
from adcaptum.service.rpc.web.bodies import Bodies, T

Translate = Callable[[bytes], bytes]
"""Makes the bytes of a message of the body of a request, or raises its error."""


class Gone(Exception):
    """The client has gone: nobody needs an answer."""


class Exchanges:
    """The exchanges of one server."""

    def __init__(self, calls: LocalCalls, bodies: Bodies) -> None:
        """Prepares them.

        Args:
            calls: The methods of the server.
            bodies: The bodies that are being received.
        """
        self._calls = calls
        self._bodies = bodies

    async def unary(self, request: Request, path: str, translate: Translate) -> Answer:
        """Calls a method that answers once.

        Args:
            request: The request.
            path: The method, as gRPC names it.
            translate: Makes its message.

        Raises:
            CallFailed: It ended with an error.
            Gone: The client has gone.
        """
        coming = _Coming(request, self._bodies, translate)
        call = asyncio.create_task(
            self._calls.unary(path, coming.receive, envelopes.envelope(request))
        )
        async with coming.watched(call):
            return await call

    async def lookup(self, request: Request, path: str, message: bytes) -> bytes:
        """Calls a method with what comes with a request, whose body is left to be received.

        Args:
            request: The request.
            path: The method, as gRPC names it.
            message: The message for it.

        Raises:
            CallFailed: It ended with an error.
        """
        return (await self._calls.unary(path, message, envelopes.envelope(request))).body

    async def stream(
        self, request: Request, path: str, translate: Translate, envelope: Envelope
    ) -> AsyncGenerator[bytes, None]:
        """Calls a method that answers with a stream.

        Raises:
            CallFailed: It ended with an error.
            Gone: The client has gone.
        """
        coming = _Coming(request, self._bodies, translate)
        async with aclosing(self._calls.stream(path, coming.receive, envelope)) as messages:
            while True:
                taken = asyncio.create_task(_taken(messages))
                async with coming.watched(taken):
                    message = await taken
                if message is None:
                    return
                yield message

    async def translate(self, work: Callable[[], T], nbytes: int) -> T:
        """Translates what has a number of bytes, in a thread if they are many."""
        return await self._bodies.translate(work, nbytes)


async def _taken(messages: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(messages, None)


class _Coming:
    """A request that comes, and its client, who may go."""

    def __init__(self, request: Request, bodies: Bodies, translate: Translate) -> None:
        self._request = request
        self._bodies = bodies
        self._translate = translate
        self._complete = asyncio.Event()
        self._gone = False

    async def receive(self) -> bytes:
        """Returns the message of the request, whose reading is a part of its call."""
        envelopes.check_timeout(self._request)
        async with self._bodies.received(self._request) as parts:
            self._complete.set()
            # Also to put it together is a copy, which large ones do not make in the event loop.
            nbytes = sum(map(len, parts))
            return await self._bodies.translate(lambda: self._translate(b"".join(parts)), nbytes)

    @asynccontextmanager
    async def watched(self, task: asyncio.Task[object]) -> AsyncIterator[None]:
        """Cancels a task when the client goes."""
        watch = asyncio.create_task(self._watch(task))
        try:
            yield
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if self._gone and not (own is not None and own.cancelling()):
                raise Gone from None
            raise
        finally:
            watch.cancel()
            if not task.done():
                task.cancel()

    async def _watch(self, task: asyncio.Task[object]) -> None:
        await self._complete.wait()
        with suppress(RuntimeError):
            while (await self._request.receive())["type"] != "http.disconnect":
                pass
            self._gone = True
            task.cancel()
