"""Services beside the product's own, such as health: bounded, with typed errors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc

from adcaptum.service.errors import TooBusy
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc.calls import call_of, check_metadata
from adcaptum.service.rpc.entrance.guarding import Guard, Visitor, visitor_of
from adcaptum.service.rpc.messages import Context, MessageReader, RequestWaits

MOST_OTHERS: Final = 256
"""The most calls of other services at a time: watchers of health may stay for days."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class OtherServices:
    """The frame of calls of other services: their requests are decoded, and their errors told.

    They are served while a server drains.
    """

    def __init__(
        self,
        waits: RequestWaits,
        retry_seconds: Callable[[], float],
        refuse: Callable[[Context, str, Call, Exception], Awaitable[NoReturn]],
        guard: Guard | None = None,
    ) -> None:
        """Prepares the frame.

        Args:
            waits: The calls whose requests have not come yet.
            retry_seconds: Returns after how many seconds a refused call should be tried again.
            refuse: Answers a call with its error.
            guard: Says who may call; None: everybody.
        """
        self._guard = guard
        self._waits = waits
        self._retry_seconds = retry_seconds
        self._refuse = refuse
        self._under_way = 0

    def wrap(self, handler: Handler, rpc: str) -> Handler:
        """Returns a handler that serves a method within the bounds.

        Args:
            handler: The method's own.
            rpc: Its name.
        """
        reader = MessageReader.of(handler.request_deserializer)
        behaviour = cast(
            "Callable[[Any, Context], Any]",
            handler.unary_unary or handler.unary_stream or handler.stream_stream,
        )

        def decoded(raw: bytes, visitor: Visitor | None) -> Any:
            if visitor is not None:
                visitor.authorise(raw)
            return reader.decode(raw)

        async def requests(context: Context, visitor: Visitor | None) -> AsyncIterator[Any]:
            while isinstance(raw := await context.read(), bytes):
                yield decoded(raw, visitor)

        async def answer(_: Any, context: Context) -> Any:
            call = call_of(context, monotonic())
            self._under_way += 1
            try:
                self._admit(context)
                visitor = await visitor_of(self._guard, rpc, context)
                if handler.request_streaming:
                    request = requests(context, visitor)
                else:
                    request = decoded(await self._waits.received(context), visitor)
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
                self._under_way -= 1
            return await self._refuse(context, rpc, call, error)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(answer, None, handler.response_serializer)
        return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)

    def _admit(self, context: Context) -> None:
        if self._under_way > MOST_OTHERS:
            raise TooBusy(
                f"{MOST_OTHERS} calls of health and reflection are being served",
                retry_s=self._retry_seconds(),
                limit="requests",
            )
        check_metadata(context)
