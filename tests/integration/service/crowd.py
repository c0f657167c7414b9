"""A crowd: clients that ask a server at the same time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server


async def ask_together(
    server: Server, rpc: str, requests: Sequence[Any], clients: int
) -> list[Any]:
    """Asks with some clients at a time.

    Args:
        server: The server.
        rpc: The name of the method.
        requests: Its requests.
        clients: The number of clients.

    Returns:
        The answers, or the codes and texts of errors, in order.
    """
    answers: dict[int, Any] = {}
    waiting = iter(enumerate(requests))
    async with grpc.aio.insecure_channel(server.address) as channel:
        ask: Any = getattr(ExplanationServiceStub(channel), rpc)

        async def client() -> None:
            for number, request in waiting:
                try:
                    answers[number] = await ask(request)
                except grpc.aio.AioRpcError as error:
                    answers[number] = (error.code(), error.details() or "")

        await asyncio.gather(*[client() for _ in range(clients)])
    return [answers[number] for number in range(len(requests))]
