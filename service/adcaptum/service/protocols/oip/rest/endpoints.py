"""The routes of the Open Inference Protocol: `/v2`."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols import errors_as_text
from adcaptum.service.protocols.exchange import Exchanges
from adcaptum.service.protocols.oip.rest import reply_json, request_json
from adcaptum.service.protocols.oip.rest.request_json import HEADER
from adcaptum.service.protocols.oip.wire.messages import SERVICE, message
from adcaptum.service.protocols.protojson import writer
from adcaptum.service.protocols.protojson.elements import shown
from adcaptum.service.protocols.requests import parsed, refused_type

OCTETS: Final = "application/octet-stream"
MODEL: Final = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
UNAVAILABLE: Final = 503

Serve = Callable[[Request], Awaitable[Response]]


class OipEndpoints:
    """Answers the requests of clients of the protocol by its methods over gRPC."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def routes(self) -> list[Route]:
        """Returns the routes."""
        found: list[tuple[str, Serve, str]] = [
            ("/v2", self._plain("ServerMetadata"), "GET"),
            ("/v2/", self._plain("ServerMetadata"), "GET"),
            ("/v2/health/live", self._probe("ServerLive", "live"), "GET"),
            ("/v2/health/ready", self._probe("ServerReady", "ready"), "GET"),
            ("/v2/repository/index", self._index, "POST"),
            ("/v2/repository/models/{model}/load", self._repository("Load"), "POST"),
            ("/v2/repository/models/{model}/unload", self._repository("Unload"), "POST"),
            ("/v2/models/stats", self._plain("ModelStatistics"), "GET"),
        ]
        for path in MODEL:
            found += [
                (path, self._plain("ModelMetadata"), "GET"),
                (f"{path}/ready", self._probe("ModelReady", "ready"), "GET"),
                (f"{path}/config", self._plain("ModelConfig", "config"), "GET"),
                (f"{path}/stats", self._plain("ModelStatistics"), "GET"),
                (f"{path}/infer", self._infer, "POST"),
            ]
        return [
            Route(path, errors_as_text.surrounded(serve), methods=[verb])
            for path, serve, verb in found
        ]

    async def _infer(self, request: Request) -> Response:
        """Predicts or explains."""
        if (problem := refused_type(request, OCTETS)) is not None:
            return errors_as_text.response(problem)
        names = request.path_params
        binary: frozenset[str] | None = frozenset()

        def translate(body: bytes) -> bytes:
            nonlocal binary
            header = request.headers.get(HEADER, "")
            raw, binary = request_json.read(body, header, names["model"], names.get("version", ""))
            return raw

        answer = await self._exchanges.unary(request, f"/{SERVICE}/ModelInfer", translate)
        body, length = await self._exchanges.translate(
            lambda: reply_json.written(answer.body, binary), len(answer.body)
        )
        headers = dict[str, str]()
        if length == len(body):
            return Response(body, headers=headers, media_type="application/json")
        headers[HEADER] = str(length)
        return Response(body, headers=headers, media_type=OCTETS)

    def _plain(self, method: str, part: str = "") -> Serve:
        """Returns an endpoint that answers with a message, or a part of it, as it is."""

        async def serve(request: Request) -> Response:
            reply = await self._called(request, method)
            text = writer.written(getattr(reply, part) if part else reply, plain=True)
            return Response(text, media_type="application/json")

        return serve

    def _probe(self, method: str, fact: str) -> Serve:
        """Returns an endpoint that answers whether something is so, by its status, too."""

        async def serve(request: Request) -> Response:
            reply = await self._called(request, method)
            yes = bool(getattr(reply, fact))
            content: dict[str, Any] = {fact: yes}
            if "model" in request.path_params:
                content = {"name": request.path_params["model"], **content}
            return Response(
                json.dumps(content), 200 if yes else UNAVAILABLE, media_type="application/json"
            )

        return serve

    def _repository(self, verb: str) -> Serve:
        """Returns an endpoint that loads or unloads a model."""

        async def serve(request: Request) -> Response:
            method = f"RepositoryModel{verb}"
            asked = message(f"{method}Request")(model_name=request.path_params["model"])
            await self._exchanges.unary(
                request, f"/{SERVICE}/{method}", lambda _: bytes(asked.SerializeToString())
            )
            return Response("{}", media_type="application/json")

        return serve

    async def _index(self, request: Request) -> Response:
        """Lists the models."""

        def translate(body: bytes) -> bytes:
            content = parsed(body) if body.strip() else {}
            if not isinstance(content, dict):
                raise InvalidRequest("request", f"{shown(content)}; must be an object")
            ready = content.pop("ready", False)
            if content or not isinstance(ready, bool):
                raise InvalidRequest("request", "must be empty, or have ready: true or false")
            return bytes(message("RepositoryIndexRequest")(ready=ready).SerializeToString())

        answer = await self._exchanges.unary(request, f"/{SERVICE}/RepositoryIndex", translate)
        reply = message("RepositoryIndexResponse").FromString(answer.body)
        models = ",".join(writer.written(each, plain=True) for each in reply.models)
        return Response(f"[{models}]", media_type="application/json")

    async def _called(self, request: Request, method: str) -> Any:
        """Returns the reply of a method that describes something."""
        asked = message(f"{method}Request")()
        for name in request.path_params:
            setattr(asked, "name" if name == "model" else name, request.path_params[name])
        answer = await self._exchanges.unary(
            request, f"/{SERVICE}/{method}", lambda _: bytes(asked.SerializeToString())
        )
        return message(f"{method}Response").FromString(answer.body)
