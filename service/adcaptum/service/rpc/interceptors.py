"""The frame of every call: its id, metrics, log line, and the status of its error."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Container
from contextlib import aclosing, suppress
from contextvars import ContextVar
from dataclasses import replace
from math import inf
from time import monotonic
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
from prometheus_client import Gauge, Histogram

from adcaptum.service import logs
from adcaptum.service.errors import (
    Cancelled,
    Reason,
    TooBusy,
    TooLate,
    Unauthenticated,
    Unavailable,
)
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc.calls import COST_KEY, ID_KEY, MOST_ID, call_of, check_metadata, host_of
from adcaptum.service.rpc.entrance.call_metrics import CallMetrics
from adcaptum.service.rpc.entrance.guarding import Audit, Guard, Visitor, shown, visitor_of
from adcaptum.service.rpc.entrance.reading import Decode, ModelOf, reading_of
from adcaptum.service.rpc.entrance.translated import identified
from adcaptum.service.rpc.error_answers import DETAILS_KEY, ErrorTable
from adcaptum.service.rpc.messages import Context, RequestWaits, writer
from adcaptum.service.rpc.other_services import MOST_OTHERS, Handler, OtherServices

CALL: Final[ContextVar[Call]] = ContextVar("call")
"""The call that the running task serves."""

GONE: Final = Cancelled("the caller went away")
SERVICES: Final = ("/adcaptum.v1.ExplanationService/", "/adcaptum.v1.RepositoryService/")

TRANSLATED: Final = ("/inference.GRPCInferenceService/",)
"""Services of other protocols: they call methods of ours, which are surrounded."""

CLOSE_SECONDS: Final = 0.5
"""The time for the answers to calls that are left when a server stops."""

QUIET_SECONDS: Final = 0.1
"""A server stops when no new call has come for so long."""

LINGER_SECONDS: Final = 0.5
"""The most time that a server waits for that."""

MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], AsyncGenerator[Any, None]]
Serving = Callable[[Any, Context], Any]


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
        metrics: CallMetrics,
        models: Container[object],
        max_requests: int,
        retry_seconds: Callable[[], float],
        errors: ErrorTable,
        *,
        reports_costs: bool = False,
        max_bytes: float = inf,
        guard: Guard | None = None,
        note_rows: Callable[[str, int], None] | None = None,
        audit: Audit | None = None,
    ) -> None:
        """Prepares it.

        Args:
            metrics: The metrics to count with.
            models: The names of the models.
            max_requests: The most calls in flight.
            retry_seconds: Returns after how many seconds a refused call should be tried again.
            errors: What callers are told of errors.
            reports_costs: Whether callers are told what their answers took: they are fronts.
            max_bytes: The most bytes that the requests of calls in flight have.
            guard: Says who may call; None: everybody.
            note_rows: Notes the most rows that a caller may have under way; None: nobody does.
            audit: Where administrative calls are noted; None: nowhere.
        """
        self._audit = audit
        self._note_rows = note_rows
        self._guard = guard
        self._retry_seconds = retry_seconds
        self.draining = False
        self.in_flight = 0
        self._closing = False
        self._refused = 0.0
        # By request id, of the calls that are being served.
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._waits = RequestWaits(2 * (max_requests + MOST_OTHERS))
        self._others = OtherServices(self._waits, retry_seconds, self._refuse, guard)
        self._idle = asyncio.Event()
        self._metrics = metrics
        self._models = models
        self._errors = errors
        self._reports_costs = reports_costs
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._bytes = 0
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
        name = method.removeprefix("/")
        if method.startswith(TRANSLATED):
            wrapped = identified(handler, name, self._guard, self._refuse)
        elif method.startswith(SERVICES):
            wrapped = self.wrap(handler, name)
        else:
            wrapped = self._others.wrap(handler, name)
        self._handlers[method] = wrapped
        return wrapped

    def wrap(self, handler: Handler, method: str) -> Handler:
        """Returns a method's handler, surrounded.

        Args:
            handler: The method's own.
            method: Its service and its name.
        """
        rpc = method.rpartition("/")[2]
        # `response_streaming` decides which method a handler has; the stubs do not show it. The
        # wrapped handler takes a stream, because only such a handler reads the request itself.
        if handler.response_streaming:
            stream = self._stream(
                cast("Streaming", handler.unary_stream), method, *reading_of(handler, rpc)
            )
            return grpc.stream_stream_rpc_method_handler(stream, None, writer(handler))
        unary = self._unary(cast("Unary", handler.unary_unary), method, *reading_of(handler, rpc))
        return grpc.stream_unary_rpc_method_handler(unary, None, writer(handler))

    def _unary(self, answer_once: Unary, method: str, decode: Decode, model_of: ModelOf) -> Serving:
        """Returns a method that answers once, surrounded."""
        rpc = method.rpartition("/")[2]
        gauge = self._metrics.in_flight.labels(rpc)

        async def unary(_: Any, context: Context) -> Any:
            arrival, request = monotonic(), None
            call: Call | None = None
            visitor: Visitor | None = None
            error: Exception | None = None
            try:
                visitor = await visitor_of(self._guard, method, context)
                raw = await self._waits.received(context)
                call = self._enter(gauge, self._call(context, arrival, visitor, len(raw)))
                self._admit(rpc, call, context)
                if visitor is not None:
                    visitor.authorise(raw)
                request = decode(raw)
                del raw
                return shown(visitor, await answer_once(request, context))
            except asyncio.CancelledError:
                error = self._cancelled()
                if error is GONE:
                    raise
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                call = self._leave(gauge, call, context, visitor) or self._call(context, arrival)
                self._observe(rpc, "" if request is None else model_of(request), call, error)
                if self._audit is not None:
                    code = "OK" if error is None else self._errors.code(error).name
                    self._audit.note(method, call.caller, call.id, request, code)
            return await self._abort(context, call, error)

        return unary

    def _stream(
        self, answer_often: Streaming, method: str, decode: Decode, model_of: ModelOf
    ) -> Serving:
        """Returns a method that answers with a stream, surrounded."""
        rpc = method.rpartition("/")[2]
        gauge = self._metrics.in_flight.labels(rpc)

        async def stream(_: Any, context: Context) -> AsyncIterator[Any]:
            arrival, request = monotonic(), None
            call: Call | None = None
            visitor: Visitor | None = None
            error: Exception | None = None
            try:
                visitor = await visitor_of(self._guard, method, context)
                raw = await self._waits.received(context)
                call = self._enter(gauge, self._call(context, arrival, visitor, len(raw)))
                self._admit(rpc, call, context)
                if visitor is not None:
                    visitor.authorise(raw)
                request = decode(raw)
                del raw
                async with aclosing(answer_often(request, context)) as messages:
                    async for message in messages:
                        yield message
            except asyncio.CancelledError:
                error = self._cancelled()
                if error is GONE:
                    raise
            except GeneratorExit:
                # The caller went away while gRPC sent a message; another task closes what is left.
                error = GONE
                if call is not None:
                    logs.REQUEST_ID.set(call.id)
                raise
            except Exception as raised:  # noqa: BLE001  # every error is answered, below
                error = raised
            finally:
                call = self._leave(gauge, call, context, visitor) or self._call(context, arrival)
                self._observe(rpc, "" if request is None else model_of(request), call, error)
            if error is not None:
                await self._abort(context, call, error)

        return stream

    async def _refuse(self, context: Context, rpc: str, call: Call, error: Exception) -> NoReturn:
        """Answers a call of another service with its error."""
        self._log_end(rpc, "", call, error)
        await self._abort(context, call, error)

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
        self._bytes += call.nbytes
        gauge.inc()
        if call.id in self._tasks:
            call = replace(call, id=f"{call.id[: MOST_ID - 9]}.{secrets.token_hex(4)}")
        task = asyncio.current_task()
        assert task is not None, "a call is served in a task"
        self._tasks[call.id] = task
        return call

    def _call(
        self, context: Context, arrival: float, visitor: Visitor | None = None, nbytes: int = 0
    ) -> Call:
        """Returns the facts about the call that is being served."""
        if self._guard is None:
            call = call_of(context, arrival, nbytes)
        else:
            # Its `x-caller-id` counts only if the guard says so.
            caller = host_of(context.peer()) if visitor is None else visitor.caller
            call = call_of(context, arrival, nbytes, caller)
            call = replace(call, most_rows=None if visitor is None else visitor.most_rows)
        if call.most_rows is not None and self._note_rows is not None:
            self._note_rows(call.caller, call.most_rows)
        return call

    def _leave(
        self, gauge: Gauge, call: Call | None, context: Context, visitor: Visitor | None
    ) -> Call | None:
        """Counts a call that has entered as ended; returns it."""
        if call is None:
            return None
        if visitor is not None:
            visitor.leave(call.spent.seconds)
        if self._reports_costs:
            cost = f"{call.spent.seconds:.6g}"
            context.set_trailing_metadata(((ID_KEY, call.id), (COST_KEY, cost)))
        self._tasks.pop(call.id, None)
        self.in_flight -= 1
        self._bytes -= call.nbytes
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
        if self._bytes > self._max_bytes and self._bytes > call.nbytes:
            raise TooBusy(
                f"the requests being served have {self._bytes - call.nbytes} bytes, and this one "
                f"{call.nbytes}; at most {self._max_bytes} are taken",
                retry_s=self._retry_seconds(),
                limit="bytes",
            )
        check_metadata(context)

    def _observe(self, rpc: str, model: str, call: Call, error: Exception | None) -> None:
        code = "OK" if error is None else self._errors.code(error).name
        key = (model, rpc, code)
        duration = self._durations.get(key)
        if duration is None:
            # A caller's spelling must not become a label: there would be no end of them.
            key = (model if model in self._models else "", rpc, code)
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
        # A flood of calls without credentials must not be one of lines: the guard tells of them.
        if self._errors.is_logged(error) or isinstance(error, Unauthenticated):
            return
        code, reason = self._errors.code(error).name, str(self._errors.reason(error))
        of_error = {"code": code, "reason": reason}
        if self._errors.is_hidden(error):
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

    async def _abort(self, context: Context, call: Call, error: Exception) -> NoReturn:
        answer = self._errors.answer(error, call.id)
        await context.abort(
            answer.code,
            answer.message,
            ((ID_KEY, call.id), (DETAILS_KEY, answer.details)),
        )
