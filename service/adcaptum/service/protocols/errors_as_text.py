"""Errors in the form of KServe and of the Open Inference Protocol: an object with a text."""

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from adcaptum.service import logs
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols.exchange import Gone
from adcaptum.service.rpc.local.calls import CallFailed
from adcaptum.service.rpc.web.problems import CLIENT_CLOSED, Problem

Endpoint = Callable[[Request], Awaitable[Response]]


def response(problem: Problem) -> Response:
    """Returns an error as an answer."""
    return Response(
        json.dumps({"error": _text(problem)}, ensure_ascii=False),
        problem.status,
        problem.headers(),
        media_type="application/json",
    )


def surrounded(endpoint: Endpoint) -> Endpoint:
    """Returns an endpoint that answers its errors."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except CallFailed as failed:
            return response(Problem.of(failed))
        except InvalidRequest as error:
            return response(Problem(400, error.message))
        except Gone:
            return Response(status_code=CLIENT_CLOSED)
        except Exception:  # noqa: BLE001  # a fault of the translation, told like all others
            logs.logger().exception("a request could not be translated", path=request.url.path)
            return response(Problem(500, "The server failed; its log says more."))

    return answer


def _text(problem: Problem) -> str:
    # The text has the id already where the protocol has one of its own.
    if not problem.request_id or problem.detail.startswith("[request id:"):
        return problem.detail
    return f"{problem.detail} (request {problem.request_id})"
