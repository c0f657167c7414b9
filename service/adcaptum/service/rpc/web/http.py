"""The HTTP server: metrics for Prometheus, probes of liveness and readiness, other protocols."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Route

from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.entrance.guarding import Guard
from adcaptum.service.rpc.ports.certificates import Certificates
from adcaptum.service.rpc.web.guarded import METRICS, CertifiedOnly, refusal
from adcaptum.service.rpc.web.impatient_protocol import ImpatientProtocol
from adcaptum.service.rpc.web.problems import Problem


class Exposing(Protocol):
    """A source of metrics for `/metrics`."""

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """Returns the metrics as text and the text's type.

        Args:
            accept: The types that the client takes, as the header `Accept` has them.
        """


def application(
    exposition: Exposing,
    unready: Callable[[], str],
    protocols: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
    guard: Guard | None = None,
) -> Starlette:
    """Returns the application.

    Args:
        exposition: The metrics that `/metrics` shows.
        unready: Returns the reason why the server is not ready; empty if it is.
        protocols: The routes of other protocols.
        origins: The sites whose pages may send requests and read the answers.
        guard: Says who may see the metrics; None: everybody.
    """

    async def metrics(request: Request) -> Response:
        refused = await refusal(guard, METRICS, request)
        if refused is not None:
            return refused
        text, content_type = await exposition.answer(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        reason = unready()
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)

    routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("*",),
        expose_headers=(ID_KEY, "retry-after"),
    )
    return Starlette(
        routes=[*routes, *protocols],
        middleware=[cors] if origins else [],
        exception_handlers={HTTPException: _told},
    )


async def _told(request: Request, error: Exception) -> Response:
    """Returns the answer to a request for which there is no route."""
    assert isinstance(error, HTTPException), "no other errors are handled here"
    response = Problem(error.status_code, error.detail).response()
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """Returns the methods of all routes that have the path of a request."""
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


class HttpServer:
    """Serves an application in the running event loop until it is stopped."""

    def __init__(
        self, app: Starlette, listener: socket.socket, certificates: Certificates | None = None
    ) -> None:
        self._listener = listener
        name = listener.getsockname()
        self.port: int = 0 if isinstance(name, str) else name[1]
        context = None if certificates is None else certificates.context
        needs_certificate = context is not None and context.verify_mode is not ssl.CERT_NONE
        config = uvicorn.Config(
            CertifiedOnly(app) if needs_certificate else app,
            http=ImpatientProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        if context is not None:
            config.load()
            config.ssl = context
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._server.server_state.connections)

    def start(self) -> None:
        """Starts to serve."""
        serving = self._server.serve(sockets=[self._listener])
        self._task = asyncio.get_running_loop().create_task(serving, name="http")

    async def stop(self) -> None:
        """Stops after the answers that are being sent."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the composition root's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
