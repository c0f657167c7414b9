"""The bytes of the requests that are being served."""

import asyncio
from typing import Any, cast

import grpc
import pytest

from adcaptum.service.front.error_table import TABLE
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.rpc.interceptors import Interceptor
from adcaptum.service.rpc.local.context import Aborted, LocalContext


def test_requests_beyond_the_most_bytes_are_refused_until_others_end() -> None:
    async def scenario() -> None:
        open_ = asyncio.Event()

        async def answer(request: bytes, _: object) -> bytes:
            await open_.wait()
            return request[:1]

        interceptor = Interceptor(FrontMetrics(), set(), 100, lambda: 1.0, TABLE, max_bytes=1000)
        handler = interceptor.wrap(grpc.unary_unary_rpc_method_handler(answer), "Predict")

        def ask(size: int) -> Any:
            context = LocalContext(bytes(size), None, [])
            return asyncio.create_task(cast("Any", handler.stream_unary)(None, context))

        # One that is alone is left to the limits behind.
        first = ask(1500)
        await asyncio.sleep(0)
        with pytest.raises(Aborted, match="at most 1000 are taken") as refused:
            await ask(1)
        assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        open_.set()
        assert await first == b"\0"
        assert [*await asyncio.gather(ask(400), ask(600))] == [b"\0", b"\0"]

    asyncio.run(scenario())
