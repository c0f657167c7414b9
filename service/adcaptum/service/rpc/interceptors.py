"""The frame of every call: its id, metrics, log line, and the status of its error."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from time import monotonic
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
from google.protobuf.message import Message
from prometheus_client import Gauge, Histogram

from adcaptum.service import logs
from adcaptum.service.answers import statuses
from adcaptum.service.errors import (
    Cancelled,
    InvalidRequest,
    Reason,
    TooBusy,
    TooLate,
    Unavailable,
)
from adcaptum.service.handlers.call import Call
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.nearest import shortened
from adcaptum.service.rpc import status
from adcaptum.service.rpc.messages import Context, MessageReader, RequestWaits, writer
from adcaptum.service.rpc.request_ids import RequestIds

CALL: Final[ContextVar[Call]] = ContextVar("call")
"""The call that the running task serves."""

GONE: Final = Cancelled("the caller went away")
MOST_OTHERS: Final = 256
"""The most calls of other services at a time: watchers of health may stay for days."""

ID_KEY: Final = "x-request-id"
CALLER_KEY: Final = "x-caller-id"
SERVICE: Final = "/adcaptum.v1.ExplanationService/"
MOST_ID: Final = 128
GOOD_ID: Final = re.compile(rf"[\x21-\x7e]{{1,{MOST_ID}}}")

IDS: Final = RequestIds()
"""The ids of requests that bring none."""

CLOSE_SECONDS: Final = 0.5
"""The time for the answers to calls that are left when a server stops."""

QUIET_SECONDS: Final = 0.1
"""A server stops when no new call has come for so long."""

LINGER_SECONDS: Final = 0.5
"""The most time that a server waits for that."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], AsyncIterator[Any]]


class Interceptor(grpc.aio.ServerInterceptor):
    """Surrounds every method: admission, metrics, log lines and statuses.

    Methods of other services, such as health, have only their requests decoded and their errors
    answered; the server serves them while it drains.

    Attributes:
        draining: Whether new calls are refused.
        in_flight: The number of calls of the service that are being served.
    """

    def __init__(
        self,
        metrics: Metrics,
        catalogue: Catalogue,
        max_requests: int,
        retry_seconds: Callable[[], float],
    ) -> None:
        """Prepares it.

        Args:
            metrics: The metrics to count with.
            catalogue: The models.
            max_requests: The most calls in flight.
            retry_seconds: Returns after how many seconds a refused call should be tried again.
        """
        self._retry_seconds = retry_seconds
        self.draining = False
        self.in_flight = 0
        self._others = 0
        self._closing = False
        self._refused = 0.0
        # By request id, of the calls that are being served.
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._waits = RequestWaits()
        self._idle = asyncio.Event()
        self._metrics = metrics
        self._catalogue = catalogue
        self._max_requests = max_requests
        self._log = logs.logger().bind()
        self._handlers: dict[str, Handler] = {}
        self._durations: dict[tuple[str, str, str], Histogram] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        """Returns the method's handler, surrounded."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        # An unknown method has no handler, and must not be remembered: callers choose its name.
        if handler is None:
            return None
        if method.startswith(SERVICE):
            wrapped = self._wrap(handler, method.removeprefix(SERVICE))
        else:
            wrapped = self._wrap_other(handler, method.removeprefix("/"))
        self._handlers[method] = wrapped
        return wrapped

    def _wrap(self, handler: Handler, rpc: str) -> Handler:
        reader = MessageReader.of(handler.request_deserializer)
        gauge, model_of = self._metrics.in_flight.labels(rpc), _model_reader(reader.kind)
        # `response_streaming` decides which of the two a handler has; the stubs do not show it.
        answer_once = cast("Unary", handler.unary_unary)
        answer_often = cast("Streaming", handler.unary_stream)

        async def unary(_: Any, context: Context) -> Any:
            arrival, request = monotonic(), None
            call: Call | None = None
            error: Exception | None = None
            try:
                raw = await self._waits.received(context)
                call = self._enter(gauge, _call(context, arrival, len(raw)))
                self._admit(rpc, call, context)
                request = reader.decode(raw)
                del raw
                return await answer_once(request, context)
            except asyncio.CancelledError:
                error = self._cancelled()
                if error is GONE:
                    raise
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                call = self._leave(gauge, call) or _call(context, arrival)
                self._observe(rpc, "" if request is None else model_of(request), call, error)
            return await _abort(context, call, error)

        async def stream(_: Any, context: Context) -> AsyncIterator[Any]:
            arrival, request = monotonic(), None
            call: Call | None = None
            error: Exception | None = None
            try:
                raw = await self._waits.received(context)
                call = self._enter(gauge, _call(context, arrival, len(raw)))
                self._admit(rpc, call, context)
                request = reader.decode(raw)
                del raw
                async for message in answer_often(request, context):
                    yield message
            except asyncio.CancelledError:
                error = self._cancelled()
                if error is GONE:
                    raise
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                call = self._leave(gauge, call) or _call(context, arrival)
                self._observe(rpc, "" if request is None else model_of(request), call, error)
            if error is not None:
                await _abort(context, call, error)

        # Handlers of streams, because only these read the request themselves.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, None, writer(handler))
        return grpc.stream_unary_rpc_method_handler(unary, None, writer(handler))

    def _wrap_other(self, handler: Handler, rpc: str) -> Handler:
        reader = MessageReader.of(handler.request_deserializer)
        behaviour = cast(
            "Callable[[Any, Context], Any]",
            handler.unary_unary or handler.unary_stream or handler.stream_stream,
        )

        async def requests(context: Context) -> AsyncIterator[Any]:
            while isinstance(raw := await context.read(), bytes):
                yield reader.decode(raw)

        async def answer(_: Any, context: Context) -> Any:
            call = _call(context, monotonic())
            self._others += 1
            try:
                self._admit_other(context)
                if handler.request_streaming:
                    request = requests(context)
                else:
                    request = reader.decode(await self._waits.received(context))
                answered = behaviour(request, context)
                if not hasattr(answered, "__aiter__"):
                    return await answered
                async for message in answered:
                    await context.write(message)
            except grpc.aio.AbortError:
                raise
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            else:
                return None
            finally:
                self._others -= 1
            self._log_end(rpc, "", call, error)
            return await _abort(context, call, error)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(answer, None, handler.response_serializer)
        return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, and waits for those being served.

        Args:
            seconds: The longest wait. Calls that are left then get UNAVAILABLE.
        """
        self.draining = True
        if self.in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        await self._close()
        # Calls that gRPC has and no handler has seen would be answered CANCELLED.
        self._refused = begin = monotonic()
        while (now := monotonic()) < begin + LINGER_SECONDS:
            if now > self._refused + QUIET_SECONDS:
                break
            await asyncio.sleep(QUIET_SECONDS / 4)

    async def _close(self) -> None:
        """Answers UNAVAILABLE to the calls that are being served."""
        if self._tasks:
            self._closing = True
            for task in [*self._tasks.values()]:
                task.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)

    def _cancelled(self) -> Exception:
        """Returns why a call was cancelled: its caller has gone, or this server closes."""
        task = asyncio.current_task()
        if not self._closing or task is None:
            return GONE
        task.uncancel()
        return Unavailable("The server is shutting down.", reason=Reason.DRAINING)

    def _enter(self, gauge: Gauge, call: Call) -> Call:
        """Counts a call; returns it with an id that no other call has that is being served."""
        self.in_flight += 1
        gauge.inc()
        if call.id in self._tasks:
            call = replace(call, id=f"{call.id[: MOST_ID - 9]}.{secrets.token_hex(4)}")
        task = asyncio.current_task()
        assert task is not None, "a call is served in a task"
        self._tasks[call.id] = task
        return call

    def _leave(self, gauge: Gauge, call: Call | None) -> Call | None:
        """Counts a call that has entered as ended; returns it."""
        if call is None:
            return None
        self._tasks.pop(call.id, None)
        self.in_flight -= 1
        gauge.dec()
        if self.draining and not self.in_flight:
            self._idle.set()
        return call

    def _admit(self, rpc: str, call: Call, context: Context) -> None:
        CALL.set(call)
        logs.REQUEST_ID.set(call.id)
        context.set_trailing_metadata(((ID_KEY, call.id),))
        if self.draining:
            self._metrics.rejected.labels(rpc, "draining").inc()
            self._refused = monotonic()
            raise Unavailable("The server is shutting down.", reason=Reason.DRAINING)
        if self.in_flight > self._max_requests:
            raise TooBusy(
                f"{self._max_requests} requests are being served",
                retry_s=self._retry_seconds(),
                limit="requests",
            )
        _check_metadata(context)

    def _admit_other(self, context: Context) -> None:
        if self._others > MOST_OTHERS:
            raise TooBusy(
                f"{MOST_OTHERS} calls of health and reflection are being served",
                retry_s=self._retry_seconds(),
                limit="requests",
            )
        _check_metadata(context)

    def _observe(self, rpc: str, model: str, call: Call, error: Exception | None) -> None:
        code = "OK" if error is None else status.code(error).name
        key = (model, rpc, code)
        duration = self._durations.get(key)
        if duration is None:
            # A caller's spelling must not become a label: there would be no end of them.
            key = (model if model in self._catalogue else "", rpc, code)
            duration = self._durations.get(key)
        if duration is None:
            duration = self._durations[key] = self._metrics.request_seconds.labels(*key)
        duration.observe(monotonic() - call.arrival)
        self._log_end(rpc, key[0], call, error)

    def _log_end(self, rpc: str, model: str, call: Call, error: Exception | None) -> None:
        """Logs one line, and counts refusals."""
        seconds = monotonic() - call.arrival
        if error is None:
            self._log.debug("request", rpc=rpc, model=model, code="OK", seconds=seconds)
            return
        of_error = {"code": status.code(error).name, "reason": statuses.reason(error).value}
        if statuses.is_hidden(error):
            self._log.error(
                "request", rpc=rpc, model=model, **of_error, seconds=seconds, exc_info=error
            )
            return
        if isinstance(error, TooBusy):
            self._metrics.rejected.labels(rpc, error.limit).inc()
        elif isinstance(error, TooLate):
            self._metrics.rejected.labels(rpc, "deadline").inc()
        self._log.info(
            "request", rpc=rpc, model=model, **of_error, seconds=seconds, error=str(error)
        )


async def _abort(context: Context, call: Call, error: Exception) -> NoReturn:
    answer = status.answer(error, call.id)
    await context.abort(
        answer.code,
        answer.message,
        ((ID_KEY, call.id), (status.DETAILS_KEY, answer.details)),
    )


def _call(context: Context, arrival: float, nbytes: int = 0) -> Call:
    # None without a deadline, whatever the stubs say.
    remaining = cast("float | None", context.time_remaining())
    request_id = caller = ""
    for key, value in context.invocation_metadata() or ():
        if key in (ID_KEY, CALLER_KEY) and isinstance(value, str) and GOOD_ID.fullmatch(value):
            if key == ID_KEY:
                request_id = value
            else:
                caller = value
    return Call(
        request_id or IDS.next(),
        arrival,
        None if remaining is None else monotonic() + remaining,
        caller or _host(context.peer()),
        nbytes,
    )


def _check_metadata(context: Context) -> None:
    for key, value in context.invocation_metadata() or ():
        # gRPC leaves text that is not UTF-8 as bytes.
        if not isinstance(value, str) and not key.endswith("-bin"):
            raise InvalidRequest("metadata", f"{shortened(key)} is not UTF-8")


def _host(peer: str) -> str:
    """Returns the address of a peer without the port: many connections are still one caller."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer


def _model_reader(kind: type[Message]) -> Callable[[Any], str]:
    """Returns a function that reads the name of the model from messages of a kind."""
    fields = kind.DESCRIPTOR.fields_by_name
    if "explain" in fields:
        return lambda request: str(request.explain.model.name)
    if "model" in fields:
        return lambda request: str(request.model.name)
    return lambda _: ""
