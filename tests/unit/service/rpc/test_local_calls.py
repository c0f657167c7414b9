"""Local calls: the same as over gRPC, on methods behind the real interceptor."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from time import monotonic
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.front.error_table import TABLE
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.rpc.health import Health, register
from adcaptum.service.rpc.interceptors import CALL, Interceptor
from adcaptum.service.rpc.local.calls import CallFailed, Envelope, LocalCalls

SERVICE = "adcaptum.v1.ExplanationService"
MOST = 1000


def calls_of(
    unary: Callable[..., Any] | None = None, stream: Callable[..., Any] | None = None
) -> tuple[LocalCalls, Interceptor]:
    """Calls of a service with two methods, `Predict` and `ExplainStream`, that take bytes."""
    interceptor = Interceptor(FrontMetrics(), (), 8, lambda: 1.0, TABLE)
    calls = LocalCalls([interceptor], MOST)
    handlers: dict[str, Any] = {}
    if unary is not None:
        handlers["Predict"] = grpc.unary_unary_rpc_method_handler(unary)
    if stream is not None:
        handlers["ExplainStream"] = grpc.unary_stream_rpc_method_handler(stream)
    calls.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return calls, interceptor


PREDICT = f"/{SERVICE}/Predict"
STREAM = f"/{SERVICE}/ExplainStream"


def reason_of(error: CallFailed) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(error.details).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


async def test_the_method_sees_the_call_as_over_grpc_and_answers_with_its_id() -> None:
    async def predict(raw: bytes, _: Any) -> bytes:
        call = CALL.get()
        assert (call.id, call.caller, call.nbytes) == ("mine", "ipv4:10.0.0.9", 3)
        assert call.deadline == pytest.approx(deadline)
        return raw * 2

    calls, interceptor = calls_of(predict)
    deadline = monotonic() + 5
    envelope = Envelope((("x-request-id", "mine"),), deadline, "ipv4:10.0.0.9:77")
    answer = await calls.unary(PREDICT, b"abc", envelope)
    assert answer.body == b"abcabc"
    assert answer.trailing["x-request-id"] == "mine"
    assert interceptor.in_flight == 0


async def test_errors_have_their_code_and_details() -> None:
    async def predict(raw: bytes, _: Any) -> bytes:
        raise InvalidRequest("inputs", "missing")

    calls, _ = calls_of(predict)
    with pytest.raises(CallFailed, match="inputs: missing") as caught:
        await calls.unary(PREDICT, b"", Envelope((("x-request-id", "a"),)))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.trailing["x-request-id"] == "a"
    assert reason_of(caught.value) == "FIELD_INVALID"


async def test_a_request_is_received_within_the_call() -> None:
    async def predict(raw: bytes, _: Any) -> bytes:
        return raw

    async def receive() -> bytes:
        raise InvalidRequest("inputs[0]", "is no object")

    calls, _ = calls_of(predict)
    with pytest.raises(CallFailed, match=r"inputs\[0\]: is no object"):
        await calls.unary(PREDICT, receive)
    with pytest.raises(CallFailed, match="1001 bytes; at most 1000") as caught:
        await calls.unary(PREDICT, bytes(MOST + 1))
    assert reason_of(caught.value) == "REQUEST_TOO_LARGE"


async def test_methods_that_are_not_there_are_unimplemented() -> None:
    async def predict(raw: bytes, _: Any) -> bytes:
        return raw

    calls, _ = calls_of(predict)
    for path in (f"/{SERVICE}/Predicts", "/other.Service/Predict"):
        with pytest.raises(CallFailed) as caught:
            await calls.unary(path, b"")
        assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(CallFailed):
        await anext(calls.stream(PREDICT, b""))


async def test_a_deadline_ends_a_method_that_does_not_keep_it() -> None:
    ended = asyncio.Event()

    async def predict(raw: bytes, _: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return raw

    calls, interceptor = calls_of(predict)
    with pytest.raises(CallFailed) as caught:
        await calls.unary(PREDICT, b"", Envelope(deadline=monotonic() + 0.05))
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason_of(caught.value) == "DEADLINE_PASSED"
    assert ended.is_set()
    assert interceptor.in_flight == 0


async def test_whoever_is_cancelled_cancels_the_method() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def predict(raw: bytes, _: Any) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return raw

    calls, interceptor = calls_of(predict)
    task = asyncio.create_task(calls.unary(PREDICT, b""))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert interceptor.in_flight == 0


async def test_a_stream_comes_message_by_message_and_ends_when_it_is_closed() -> None:
    made: list[int] = []
    ended = asyncio.Event()

    async def explain(raw: bytes, _: Any) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(100):
                made.append(number)
                yield b"%d" % number
        finally:
            ended.set()

    calls, _ = calls_of(stream=explain)
    assert [each async for each in calls.stream(STREAM, b"")][-1] == b"99"
    made.clear()
    ended.clear()
    stream = calls.stream(STREAM, b"")
    assert await anext(stream) == b"0"
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 5)
    # The method waits for whoever reads.
    assert len(made) <= 4


async def test_a_stream_that_fails_tells_after_its_messages() -> None:
    async def explain(raw: bytes, _: Any) -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise InvalidRequest("spec", "wrong")

    calls, _ = calls_of(stream=explain)
    stream = calls.stream(STREAM, b"")
    assert await anext(stream) == b"first"
    with pytest.raises(CallFailed, match="spec: wrong"):
        await anext(stream)


async def test_a_draining_server_refuses_and_one_that_closes_answers() -> None:
    begun = asyncio.Event()

    async def predict(raw: bytes, _: Any) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return raw

    calls, interceptor = calls_of(predict)
    task = asyncio.create_task(calls.unary(PREDICT, b""))
    await begun.wait()
    await interceptor.drain(0.0)
    for asked in (task, asyncio.create_task(calls.unary(PREDICT, b""))):
        with pytest.raises(CallFailed) as caught:
            await asked
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        assert reason_of(caught.value) == "DRAINING"


async def test_other_services_that_write_their_messages_are_called_alike() -> None:
    calls, _ = calls_of()
    own = Health()
    register(own, cast("grpc.aio.Server", calls))
    await own.set_server(serving=True)
    request = health_pb2.HealthCheckRequest().SerializeToString()
    answer = await calls.unary(f"/{health.SERVICE_NAME}/Check", request)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert health_pb2.HealthCheckResponse.FromString(answer.body).status == serving
    watched = calls.stream(f"/{health.SERVICE_NAME}/Watch", request)
    assert health_pb2.HealthCheckResponse.FromString(await anext(watched)).status == serving
    await watched.aclose()
