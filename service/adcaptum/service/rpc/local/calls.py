"""Calls of this server's methods from inside its process, as gRPC would make them.

The way through the interceptors is gRPC's own: ids, limits, deadlines, metrics, log lines and
statuses are the same, whatever protocol a caller speaks.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias, cast

import grpc

from adcaptum.service.errors import DeadlineExceeded, InvalidRequest, Reason
from adcaptum.service.rpc import error_answers
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.local.context import (
    Aborted,
    Certificate,
    LocalContext,
    Metadata,
    Receive,
)
from adcaptum.service.rpc.other_services import Handler

GRACE_SECONDS: Final = 0.25
"""The time after its deadline in which a handler may still answer that it has passed."""

MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Find = Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]]


class Details(NamedTuple):
    """The part of a call that interceptors see, in gRPC's words."""

    method: str
    invocation_metadata: Metadata


@dataclass(frozen=True, slots=True)
class Envelope:
    """The facts that come with a request beside its bytes.

    Attributes:
        metadata: Its metadata; keys in lower case.
        deadline: When its answer is due, on the monotonic clock; None for never.
        peer: Where it comes from, as gRPC writes it: `ipv4:127.0.0.1:4321`.
        certificate: Returns the facts of the caller's certificate, as gRPC has them.
    """

    metadata: Metadata = ()
    deadline: float | None = None
    peer: str = "unix:"
    certificate: Certificate = dict


BARE: Final = Envelope()


class Answer(NamedTuple):
    """The answer of a method that answers once, and the metadata that goes with it."""

    body: bytes
    trailing: Mapping[str, str]


class CallFailed(Exception):
    """The error with which a call ended.

    Attributes:
        code: The status code.
        message: Its text.
        details: A serialised `google.rpc.Status`; empty for none.
        trailing: The metadata that goes with it.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, details: bytes, trailing: Mapping[str, str]
    ) -> None:
        Exception.__init__(self, message)
        self.code = code
        self.message = message
        self.details = details
        self.trailing = trailing


class LocalCalls:
    """Calls of the methods of one server.

    Generated code adds a servicer to it as to a gRPC server.
    """

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor], most_bytes: int) -> None:
        """Prepares it.

        Args:
            interceptors: Those of the gRPC server, in its order.
            most_bytes: The largest message.
        """
        self._interceptors = interceptors
        self._most_bytes = most_bytes
        self._services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds methods."""
        self._services += handlers

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Adds nothing: generated code has added these methods already."""

    async def unary(self, path: str, request: bytes | Receive, envelope: Envelope = BARE) -> Answer:
        """Calls a method that answers once; ends it if this task is cancelled.

        Args:
            path: The method, as gRPC names it: `/adcaptum.v1.ExplanationService/Predict`.
            request: The request, or what receives it.
            envelope: What comes with it.

        Raises:
            CallFailed: The call ended with an error.
        """
        context = self._context(request, envelope)
        task = asyncio.create_task(self._answer(path, context))
        with _deadline(task, envelope, context):
            body = await task
        if len(body) > self._most_bytes:
            text = f"the answer has {len(body)} bytes, more than {self._most_bytes}"
            raise CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, text, b"", dict(context.trailing))
        return Answer(body, dict(context.trailing))

    async def stream(
        self, path: str, request: bytes | Receive, envelope: Envelope = BARE
    ) -> AsyncGenerator[bytes, None]:
        """Calls a method that answers with a stream; ends it if the generator is closed.

        Yields:
            Its messages.

        Raises:
            CallFailed: The call ended with an error.
        """
        # As gRPC does, a method waits until its last message is taken.
        messages = asyncio.Queue[bytes](1)
        context = self._context(request, envelope)
        task = asyncio.create_task(self._fill(path, context, messages))
        task.add_done_callback(_retrieved)
        try:
            with _deadline(task, envelope, context):
                while (message := await _next(messages, task)) is not None:
                    yield message
                await task
        finally:
            task.cancel()

    def _context(self, request: bytes | Receive, envelope: Envelope) -> LocalContext:
        return LocalContext(
            self._bounded(request),
            envelope.deadline,
            envelope.metadata,
            envelope.peer,
            envelope.certificate,
        )

    def _bounded(self, request: bytes | Receive) -> Receive:
        """Returns what receives a request, unless it is too large."""
        given = iter((request,)) if isinstance(request, bytes) else None

        async def receive() -> bytes | None:
            if given is not None:
                found = next(given, None)
            else:
                found = await cast("Receive", request)()
            if found is not None and len(found) > self._most_bytes:
                raise InvalidRequest(
                    "request",
                    f"{len(found)} bytes; at most {self._most_bytes} are taken",
                    reason=Reason.REQUEST_TOO_LARGE,
                )
            return found

        return receive

    async def _answer(self, path: str, context: LocalContext) -> bytes:
        handler = await self._handler(path, context, streamed=False)
        answer = await cast("Any", handler.stream_unary)(None, context)
        write = cast("Any", handler.response_serializer) or bytes
        return cast("bytes", write(answer))

    async def _fill(self, path: str, context: LocalContext, messages: asyncio.Queue[bytes]) -> None:
        """Puts the messages of a method into a queue."""
        handler = await self._handler(path, context, streamed=True)
        write = cast("Any", handler.response_serializer) or bytes

        async def put(message: Any) -> None:
            await messages.put(write(message))

        context.send = put
        answered = cast("Any", handler.stream_stream)(None, context)
        if not hasattr(answered, "__aiter__"):
            await answered
            return
        async with aclosing(answered) as found:
            async for message in found:
                await put(message)

    async def _handler(self, path: str, context: LocalContext, *, streamed: bool) -> Handler:
        """Returns the surrounded handler of a method.

        Raises:
            Aborted: There is no such method.
        """
        find: Find = self._find
        for interceptor in reversed(self._interceptors):
            find = partial(interceptor.intercept_service, find)
        details = cast("Any", Details(path, context.invocation_metadata()))
        handler = await find(details)
        if handler is None or handler.response_streaming != streamed:
            raise Aborted(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {path}", ())
        return handler

    async def _find(self, details: grpc.HandlerCallDetails) -> MaybeHandler:
        found = (each.service(details) for each in self._services)
        return next((each for each in found if each is not None), None)


async def _next(messages: asyncio.Queue[bytes], task: asyncio.Task[None]) -> bytes | None:
    """Returns the next message of a task; None if it has ended."""
    if messages.empty() and not task.done():
        taken = asyncio.ensure_future(messages.get())
        try:
            await asyncio.wait([taken, task], return_when=asyncio.FIRST_COMPLETED)
            if taken.done():
                return taken.result()
        finally:
            taken.cancel()
    return None if messages.empty() else messages.get_nowait()


def _retrieved(task: asyncio.Task[None]) -> None:
    """Takes the error of a task whose caller may have gone."""
    if not task.cancelled():
        task.exception()


@contextmanager
def _deadline(task: asyncio.Task[Any], envelope: Envelope, context: LocalContext) -> Iterator[None]:
    """Ends a task that is late, and tells of its errors as `CallFailed`."""
    late = False

    def end() -> None:
        nonlocal late
        late = True
        task.cancel()

    timer = None
    if envelope.deadline is not None:
        seconds = max(0.0, envelope.deadline - monotonic()) + GRACE_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield
    except Aborted as aborted:
        raise CallFailed(
            aborted.code, aborted.message, aborted.details, aborted.trailing
        ) from aborted
    except asyncio.CancelledError as error:
        own = asyncio.current_task()
        if not late or (own is not None and own.cancelling()):
            raise
        trailing = dict(context.trailing)
        passed = DeadlineExceeded("the deadline came before the answer")
        answer = error_answers.answer(passed, trailing.get(ID_KEY, ""))
        raise CallFailed(answer.code, answer.message, answer.details, trailing) from error
    finally:
        if timer is not None:
            timer.cancel()
