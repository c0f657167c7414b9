"""The client for asyncio is the client that blocks, with await."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2  # type: ignore[import-untyped] # without a marker

from adcaptum.client import Accepted, AsyncClient, Client, NotFound, Progress, Result, Unavailable
from tests.unit.client.canned_server import CannedServicer, failure, unavailable

ROW = np.array([[1, 2, 3]], np.float32)


def public(kind: type) -> dict[str, Callable[..., Any]]:
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {name: each for name, each in functions if name == "__init__" or name[0] != "_"}


def parameters(function: Callable[..., Any]) -> list[tuple[str, object, object]]:
    signature = inspect.signature(function)
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


def test_both_clients_have_the_same_methods() -> None:
    assert public(Client).keys() == public(AsyncClient).keys()


@pytest.mark.parametrize("name", public(Client))
def test_methods_of_both_clients_take_the_same(name: str) -> None:
    assert parameters(public(Client)[name]) == parameters(public(AsyncClient)[name])


@pytest.mark.parametrize("name", public(Client))
def test_methods_of_both_clients_say_the_same(name: str) -> None:
    assert inspect.getdoc(public(Client)[name]) == inspect.getdoc(public(AsyncClient)[name])


async def test_a_prediction_is_asked_and_read(async_client: AsyncClient) -> None:
    result = await async_client.predict("cells", ROW)
    assert result.labels == ("malignant",)


async def test_an_explanation_gets_the_names_of_features(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    (explanation,) = await async_client.explain("cells", ROW)
    assert explanation.attributions["measurements"].features[2] == "area"
    assert servicer.rpcs == ["Explain"]


async def test_many_tasks_share_a_client(async_client: AsyncClient) -> None:
    results = await asyncio.gather(*(async_client.predict("cells", ROW) for _ in range(8)))
    assert len(results) == 8


async def test_a_stream_brings_typed_events(async_client: AsyncClient) -> None:
    kinds = [type(event) async for event in async_client.explain_stream("cells", ROW)]
    assert kinds == [Accepted, Progress, Progress, Result]


async def test_leaving_a_stream_ends_its_call(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    servicer.endless = True
    stream = async_client.explain_stream("cells", ROW)
    async with contextlib.aclosing(stream) as events:  # type: ignore[type-var] # a generator is
        async for _ in events:
            break
    assert await asyncio.to_thread(servicer.stream_ended.wait, 10)


async def test_what_the_server_lists_is_read(async_client: AsyncClient) -> None:
    assert (await async_client.server()).version == "0.2.0"
    (model,) = await async_client.models()
    assert await async_client.model("cells") == model
    assert [method.name for method in await async_client.methods()] == [
        "integrated_gradients",
        "grad_cam",
        "shapley_values",
    ]


async def test_errors_are_those_of_the_package(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    servicer.failures.append(failure(code_pb2.NOT_FOUND, "no model"))
    with pytest.raises(NotFound, match="no model"):
        await async_client.models()


async def test_a_stream_that_fails_raises_the_errors_of_the_package(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    servicer.failures.append(failure(code_pb2.NOT_FOUND, "no model"))
    with pytest.raises(NotFound, match="no model"):
        async for _ in async_client.explain_stream("cells", ROW):
            pass


async def test_a_call_is_repeated_while_the_server_is_unavailable(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    servicer.failures.extend([unavailable()] * 2)
    await async_client.models()
    assert servicer.rpcs == ["ListModels"] * 3


async def test_a_client_that_encrypts_opens_a_secure_channel(address: str) -> None:
    async with AsyncClient(address, tls=True, max_attempts=1) as client:
        with pytest.raises(Unavailable, match=r"SSL|handshake|failed to connect"):
            await client.models()
