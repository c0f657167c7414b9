"""What happens around every call: its id, its metrics, its line in the log, its error's status."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
from prometheus_client import Gauge, Histogram

from adcaptum.service import logs
from adcaptum.service.errors import TooBusy, TooLate, Unavailable
from adcaptum.service.handlers.call import Call
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.rpc import status

CALL: Final[ContextVar[Call]] = ContextVar("call")
"""The call that this task serves."""

ID_KEY: Final = "x-request-id"
CALLER_KEY: Final = "x-caller-id"
SERVICE: Final = "/adcaptum.v1.ExplanationService/"
GOOD_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], AsyncIterator[Any]]


class Interceptor(grpc.aio.ServerInterceptor):
    """Stands before every method of the service; others, such as health, pass by.

    Attributes:
        draining: Whether new calls are refused.
        in_flight: How many calls are being served.
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
            metrics: What to count.
            catalogue: The models.
            max_requests: How many calls may be in flight.
            retry_seconds: Says when it is worth while to try again if there are too many.
        """
        self._retry_seconds = retry_seconds
        self.draining = False
        self.in_flight = 0
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
        """Returns the method's handler, with what stands around it."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        # An unknown method has no handler, and must not be remembered: callers choose its name.
        if handler is None or not method.startswith(SERVICE):
            return handler
        wrapped = self._handlers[method] = self._wrap(handler, method.removeprefix(SERVICE))
        return wrapped

    def _wrap(self, handler: Handler, rpc: str) -> Handler:
        gauge = self._metrics.in_flight.labels(rpc)
        # Which of the two a handler has, its response_streaming says; the stubs know it no better.
        answer_once = cast("Unary", handler.unary_unary)
        answer_often = cast("Streaming", handler.unary_stream)

        async def unary(request: Any, context: Context) -> Any:
            call = _call(context)
            error: Exception | None = None
            self.in_flight += 1
            gauge.inc()
            try:
                self._admit(rpc, call, context)
                return await answer_once(request, context)
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                self._leave(gauge)
                self._observe(rpc, _model_name(request), call, error)
            return await _abort(context, call, error)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            call = _call(context)
            error: Exception | None = None
            self.in_flight += 1
            gauge.inc()
            try:
                self._admit(rpc, call, context)
                async for message in answer_often(request, context):
                    yield message
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                self._leave(gauge)
                self._observe(rpc, _model_name(request), call, error)
            if error is not None:
                await _abort(context, call, error)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            unary, handler.request_deserializer, handler.response_serializer
        )

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, and waits for those being served, but no longer than `seconds`."""
        self.draining = True
        if self.in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)

    def _leave(self, gauge: Gauge) -> None:
        self.in_flight -= 1
        gauge.dec()
        if self.draining and not self.in_flight:
            self._idle.set()

    def _admit(self, rpc: str, call: Call, context: Context) -> None:
        CALL.set(call)
        logs.REQUEST_ID.set(call.id)
        context.set_trailing_metadata(((ID_KEY, call.id),))
        if self.draining:
            self._metrics.rejected.labels(rpc, "draining").inc()
            raise Unavailable("The server is shutting down.")
        if self.in_flight > self._max_requests:
            raise TooBusy(
                f"{self._max_requests} requests are being served",
                retry_s=self._retry_seconds(),
                reason="requests",
            )

    def _observe(self, rpc: str, model: str, call: Call, error: Exception | None) -> None:
        code = "OK" if error is None else status.code(error).name
        # A caller's spelling must not become a label: there would be no end of them.
        key = (model if model in self._catalogue else "", rpc, code)
        duration = self._durations.get(key)
        if duration is None:
            duration = self._durations[key] = self._metrics.request_seconds.labels(*key)
        seconds = monotonic() - call.arrival
        duration.observe(seconds)
        if error is None:
            self._log.debug("request", rpc=rpc, model=key[0], code=code, seconds=seconds)
        elif status.is_fault(error):
            self._log.error("request", rpc=rpc, model=key[0], code=code, exc_info=error)
        else:
            if isinstance(error, TooBusy):
                self._metrics.rejected.labels(rpc, error.reason).inc()
            elif isinstance(error, TooLate):
                self._metrics.rejected.labels(rpc, "deadline").inc()
            self._log.info(
                "request", rpc=rpc, model=key[0], code=code, seconds=seconds, error=str(error)
            )


async def _abort(context: Context, call: Call, error: Exception) -> NoReturn:
    answer = status.answer(error, call.id)
    await context.abort(
        answer.code,
        answer.message,
        ((ID_KEY, call.id), (status.DETAILS_KEY, answer.details)),
    )


def _call(context: Context) -> Call:
    now = monotonic()
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
        request_id or secrets.token_hex(8),
        now,
        None if remaining is None else now + remaining,
        caller or _host(context.peer()),
    )


def _host(peer: str) -> str:
    """The address that a peer calls from: what opens many connections is still one caller."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer


def _model_name(request: Any) -> str:
    if hasattr(request, "explain"):
        request = request.explain
    if hasattr(request, "model"):
        return str(request.model.name)
    return ""
