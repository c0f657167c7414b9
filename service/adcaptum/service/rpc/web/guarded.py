"""Pages that are not for everybody."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adcaptum.service.errors import ServiceError, TooBusy, Unauthenticated
from adcaptum.service.rpc.entrance.guarding import Guard

CERTIFIED: Final = "certified"
"""The key in a request's state that says whether its client has shown a certificate."""

PROBES: Final = frozenset({"/healthz", "/readyz"})

METRICS: Final = "http/metrics"
"""The name of the page of metrics, as guards know calls."""


async def refusal(guard: Guard | None, page: str, request: Request) -> Response | None:
    """Returns the answer to a request that a guard refuses; None: it does not.

    Args:
        guard: The guard; None: the page is for everybody.
        page: The name of the page, as guards know calls.
        request: The request.
    """
    if guard is None:
        return None
    metadata = [(key, value) for key, value in request.headers.items() if key == "authorization"]
    host = "unix:" if request.client is None else request.client.host
    try:
        await guard.identify(page, metadata, host, dict)
    except ServiceError as error:
        return _answer(error)
    return None


class CertifiedOnly:
    """An application for clients that have shown a certificate; probes need none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["path"] in PROBES or scope["state"].get(CERTIFIED):
            await self._app(scope, receive, send)
            return
        refused = PlainTextResponse("A client certificate is required.\n", status_code=401)
        await refused(scope, receive, send)


def _answer(error: ServiceError) -> Response:
    if isinstance(error, Unauthenticated):
        headers = {"www-authenticate": "Bearer"}
        return PlainTextResponse(f"{error}\n", status_code=401, headers=headers)
    return PlainTextResponse(f"{error}\n", status_code=429 if isinstance(error, TooBusy) else 403)
