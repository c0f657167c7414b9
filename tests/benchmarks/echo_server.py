"""The cheapest server in Python: grpc.aio answers each request with its own bytes."""

from __future__ import annotations

from typing import Any

import grpc
import uvloop


async def serve() -> None:
    """Serves until it is killed."""
    server = grpc.aio.server()

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(echo)
    handlers = {"Predict": handler, "Explain": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("adcaptum.v1.ExplanationService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
