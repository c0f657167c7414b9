"""The endpoints of the JSON interface: a request -> a call -> its reply, at once or as events."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from importlib import resources
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adcaptum.service import logs
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.protocols.api.rpc_route import PREFIX, ROUTES, RpcRoute
from adcaptum.service.protocols.exchange import Exchanges, Gone
from adcaptum.service.protocols.protojson import reader, writer
from adcaptum.service.protocols.requests import parsed, refused_type
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.local.calls import CallFailed
from adcaptum.service.rpc.web import envelopes
from adcaptum.service.rpc.web.problems import CLIENT_CLOSED, Problem
from adcaptum.service.rpc.web.segments import path_of_names

EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
FORMS: Final = (EVENTS, LINES)
"""The forms of streams, the usual one first."""

TYPED: Final = "typed"
"""The state of a request of which an input came as `values`."""

TENSORS: Final = "tensors"
"""The parameter of the query that chooses the form of tensors in replies."""


def routes(exchanges: Exchanges) -> list[Route]:
    """Returns the routes under `/api/v1`, and the document that describes them."""
    document = (resources.files(__package__) / "openapi.json").read_bytes()

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        *(
            Route(
                path_of_names(PREFIX + each.path), _endpoint(each, exchanges), methods=[each.verb]
            )
            for each in ROUTES
        ),
    ]


def _endpoint(route: RpcRoute, exchanges: Exchanges) -> Callable[[Request], Any]:
    serve = _streamed if route.streamed else _answered

    async def endpoint(request: Request) -> Response:
        if route.verb == "POST" and (problem := refused_type(request)) is not None:
            return problem.response()
        try:
            return await serve(route, exchanges, request)
        except CallFailed as failed:
            return Problem.of(failed).response()
        except Gone:
            return Response(status_code=CLIENT_CLOSED)
        except Exception:  # noqa: BLE001  # a fault of this translation, told like all others
            logs.logger().exception("a request could not be translated", path=route.path)
            return Problem(500, "The server failed; its log says more.", "INTERNAL").response()

    return endpoint


async def _answered(route: RpcRoute, exchanges: Exchanges, request: Request) -> Response:
    """Answers with the reply of a method."""
    answer = await exchanges.unary(request, route.grpc_path, partial(message, route, request))

    def write() -> bytes:
        reply = route.reply()
        reply.ParseFromString(answer.body)
        return writer.written(reply, as_values=_lists(request)).encode()

    body = await exchanges.translate(write, len(answer.body))
    headers = {ID_KEY: answer.trailing.get(ID_KEY, "")}
    return Response(body, headers=headers, media_type="application/json")


async def _streamed(route: RpcRoute, exchanges: Exchanges, request: Request) -> Response:
    """Answers with the events of a method; an error before the first one is a status."""
    form = accepted_form(request.headers.get("accept", ""))
    if form is None:
        return Problem(406, f"Streams are {EVENTS} or {LINES}.").response()
    envelope = envelopes.envelope(request)
    translate = partial(message, route, request)
    messages = exchanges.stream(request, route.grpc_path, translate, envelope)
    events = _events(route, exchanges, messages, request)
    first = await anext(events)
    headers = {ID_KEY: dict(envelope.metadata)[ID_KEY], "cache-control": "no-store"}
    written = _written(first, events, _event if form == EVENTS else _line)
    return StreamingResponse(written, headers=headers, media_type=form)


async def _events(
    route: RpcRoute,
    exchanges: Exchanges,
    messages: AsyncGenerator[bytes, None],
    request: Request,
) -> AsyncGenerator[tuple[str, str], None]:
    """Yields the name and the content of each event."""

    def write(raw: bytes) -> tuple[str, str]:
        reply: Any = route.reply()
        reply.ParseFromString(raw)
        name = reply.WhichOneof("event") or ""
        content = getattr(reply, name) if name else reply
        return name, writer.written(content, as_values=_lists(request))

    async with aclosing(messages):
        async for raw in messages:
            yield await exchanges.translate(partial(write, raw), len(raw))


async def _written(
    first: tuple[str, str],
    events: AsyncGenerator[tuple[str, str], None],
    write: Callable[[str, str], str],
) -> AsyncIterator[str]:
    """Yields a stream; an error after its beginning is its last event."""
    async with aclosing(events):
        try:
            yield write(*first)
            async for name, content in events:
                yield write(name, content)
        except CallFailed as failed:
            yield write("error", json.dumps(Problem.of(failed).content(), ensure_ascii=False))
        except Gone:
            return


def _lists(request: Request) -> bool:
    """Returns whether replies have lists: as asked for, or else as the inputs came."""
    form = request.query_params.get(TENSORS)
    return form == "values" or (form is None and getattr(request.state, TYPED, False))


def _event(name: str, content: str) -> str:
    return f"event: {name}\ndata: {content}\n\n"


def _line(name: str, content: str) -> str:
    return f'{{"{name}":{content}}}\n'


def accepted_form(accept: str) -> str | None:
    """Returns the form of a stream that a client takes; None if there is none."""
    wanted = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    for each in wanted:
        if each in FORMS:
            return each
        if each in ("", "*/*", "text/*", "application/*"):
            return LINES if each == "application/*" else EVENTS
    return None


def message(route: RpcRoute, request: Request, body: bytes) -> bytes:
    """Makes the message of a request.

    Raises:
        InvalidRequest: It is none.
    """
    made: Any = route.request()
    _check_query(route, request.query_params)
    inner = made
    if route.wrapped:
        inner = getattr(made, route.wrapped)
        inner.SetInParent()
    if route.verb == "POST":
        bound = {field.partition(".")[0] for field in route.bound.values()}
        stands = dict.fromkeys(bound, "stands in the path; leave it out")
        content = parsed(body) if body.strip() else {}
        setattr(request.state, TYPED, _is_typed(content))
        reader.read(inner, content, leave_out=stands)
    for name, field in route.asked.items():
        if name in request.query_params:
            reader.read(inner, _nested(field, request.query_params[name]))
    for name, field in route.bound.items():
        reader.read(inner, _nested(field, request.path_params[name]))
    return bytes(made.SerializeToString())


def _is_typed(content: Any) -> bool:
    """Returns whether an input came as `values`."""
    inputs = content.get("inputs") if isinstance(content, dict) else None
    return isinstance(inputs, list) and any(
        isinstance(each, dict) and "values" in each for each in inputs
    )


def _check_query(route: RpcRoute, query: Any) -> None:
    """Refuses parameters of the query that are unknown or stand twice."""
    known = {*route.asked, TENSORS}
    for name, value in query.multi_items():
        place = f"query.{name[:80]}"
        if name not in known:
            raise InvalidRequest(
                place,
                f"there is no such parameter. {did_you_mean(name, known)}",
                reason=Reason.FIELD_UNKNOWN,
            )
        if len(query.getlist(name)) > 1:
            raise InvalidRequest(place, "stands twice")
        if name == TENSORS and value not in ("data", "values"):
            raise InvalidRequest(place, f"{shortened(value)}; must be data or values")


def _nested(field: str, value: str) -> Mapping[str, Any]:
    """Returns JSON with one field, which may be inside another one: `model.name`."""
    content: Any = value
    for name in reversed(field.split(".")):
        content = {name: content}
    found: Mapping[str, Any] = content
    return found
