"""Pages that are not for everybody."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from adcaptum.service.errors import ServiceError, TooBusy, Unauthenticated
from adcaptum.service.rpc.entrance.guarding import Guard

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


def _answer(error: ServiceError) -> Response:
    if isinstance(error, Unauthenticated):
        headers = {"www-authenticate": "Bearer"}
        return PlainTextResponse(f"{error}\n", status_code=401, headers=headers)
    return PlainTextResponse(f"{error}\n", status_code=429 if isinstance(error, TooBusy) else 403)
