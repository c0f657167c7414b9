"""Calls of other protocols, which become calls of our own services: refused before they are read.

What the caller may do is asked again of each of these calls, which have the same metadata.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, NoReturn, TypeAlias, cast

import grpc

from adcaptum.service.errors import ServiceError
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc.calls import call_of
from adcaptum.service.rpc.entrance.guarding import Guard, visitor_of
from adcaptum.service.rpc.messages import Context

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Refuse = Callable[[Context, str, Call, Exception], Awaitable[NoReturn]]


def identified(handler: Handler, method: str, guard: Guard | None, refuse: Refuse) -> Handler:
    """Returns a handler whose callers the guard knows.

    Args:
        handler: The method's own; it reads its requests itself.
        method: Its service and its name.
        guard: Says who may call; None: everybody.
        refuse: Answers a call with its error.
    """
    if guard is None:
        return handler

    async def enter(context: Context) -> None:
        call = call_of(context, monotonic())
        try:
            await visitor_of(guard, method, context)
        except ServiceError as error:
            await refuse(context, method, call, error)

    async def unary(requests: Any, context: Context) -> Any:
        await enter(context)
        return await cast("Any", handler.stream_unary)(requests, context)

    async def stream(requests: Any, context: Context) -> AsyncIterator[Any]:
        await enter(context)
        async for message in cast("Any", handler.stream_stream)(requests, context):
            yield message

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)
    return grpc.stream_unary_rpc_method_handler(unary, None, handler.response_serializer)
