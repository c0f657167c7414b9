"""The routes of KServe's first protocol: `/v1/models`, `:predict` and `:explain`."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols import errors_as_text
from adcaptum.service.protocols.exchange import Exchanges
from adcaptum.service.protocols.protojson import reader, writer
from adcaptum.service.protocols.protojson.elements import shown
from adcaptum.service.protocols.requests import parsed, refused_type
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.web.segments import path_of_names
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2

SERVICE: Final = "/adcaptum.v1.ExplanationService/"
MOST_MODELS: Final = 1000
INSTANCES: Final = "instances"
ENCODED: Final = "b64"
"""The key of an object that stands for bytes, of an encoded image, in base64."""

LARGE: Final = 1 << 17
"""The smallest body, in bytes, whose numbers may be too many for `values`."""

ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "predict": (INSTANCES,),
    "explain": (INSTANCES, "preset", "spec"),
}
"""The fields of a body; `preset` and `spec` are those of our own protocol."""


class KServeEndpoints:
    """Answers the requests of KServe's clients."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges

    def routes(self) -> list[Route]:
        """Returns the routes."""
        found = [
            ("/v1/models", self._models, "GET"),
            ("/v1/models/{model}:predict", self._predict, "POST"),
            ("/v1/models/{model}:explain", self._explain, "POST"),
            ("/v1/models/{model}", self._model, "GET"),
        ]
        return [
            Route(path_of_names(path), errors_as_text.surrounded(serve), methods=[verb])
            for path, serve, verb in found
        ]

    async def _models(self, request: Request) -> Response:
        asked = pb.ListModelsRequest(page_size=MOST_MODELS).SerializeToString()
        answer = await self._exchanges.unary(request, f"{SERVICE}ListModels", lambda _: asked)
        found = pb.ListModelsResponse.FromString(answer.body)
        return _json({"models": [each.name for each in found.models]})

    async def _model(self, request: Request) -> Response:
        model = await self._described(request)
        default = [
            each for each in model.versions if each.identity.version == model.default_version
        ]
        ready = any(each.state == model_pb2.MODEL_STATE_READY for each in default)
        return _json({"name": model.name, "ready": ready})

    async def _predict(self, request: Request) -> Response:
        """Answers with the rows of the outputs."""
        if (problem := refused_type(request)) is not None:
            return errors_as_text.response(problem)
        translate = partial(
            _message, pb.PredictRequest, "predict", request, await self._types(request)
        )
        answer = await self._exchanges.unary(request, f"{SERVICE}Predict", translate)

        def write() -> str:
            reply = pb.PredictResponse.FromString(answer.body)
            outputs = {each.name: _rows(each) for each in reply.outputs}
            rows = next(iter(outputs.values())) if len(outputs) == 1 else _joined(outputs)
            return _answer("predictions", rows, reply.model)

        body = await self._exchanges.translate(write, len(answer.body))
        return _json_text(body, answer.trailing.get(ID_KEY, ""))

    async def _explain(self, request: Request) -> Response:
        """Answers with the explanations of each instance, of all methods."""
        if (problem := refused_type(request)) is not None:
            return errors_as_text.response(problem)
        translate = partial(
            _message, pb.ExplainRequest, "explain", request, await self._types(request)
        )
        answer = await self._exchanges.unary(request, f"{SERVICE}Explain", translate)

        def write() -> str:
            reply = pb.ExplainResponse.FromString(answer.body)
            found: dict[int, list[str]] = {}
            for result in reply.results:
                method = writer.written(result.method)
                for each in result.explanations:
                    text = writer.written(each, as_values=True)
                    found.setdefault(each.example, []).append(f'{{"method":{method},{text[1:]}')
            rows = [f"[{','.join(found[example])}]" for example in sorted(found)]
            return _answer("explanations", rows, reply.model)

        body = await self._exchanges.translate(write, len(answer.body))
        return _json_text(body, answer.trailing.get(ID_KEY, ""))

    async def _types(self, request: Request) -> Mapping[str, str]:
        """Returns the datatypes of a model's inputs, if a request may have many numbers."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) < LARGE:
            return {}
        model = await self._described(request)
        inputs = [each for version in model.versions[:1] for each in version.inputs]
        found = {each.name: each.datatype for each in inputs}
        return found | {"": inputs[0].datatype} if len(inputs) == 1 else found

    async def _described(self, request: Request) -> model_pb2.Model:
        name = request.path_params["model"]
        asked = pb.GetModelRequest(
            model=model_pb2.ModelRef(name=name), view=pb.MODEL_VIEW_BASIC
        ).SerializeToString()
        body = await self._exchanges.lookup(request, f"{SERVICE}GetModel", asked)
        return pb.GetModelResponse.FromString(body).model


def _message(
    kind: Any, verb: str, request: Request, datatypes: Mapping[str, str], body: bytes
) -> bytes:
    """Makes the message of a request."""
    content = parsed(body)
    if not isinstance(content, dict):
        raise InvalidRequest("request", f"{shown(content)}; must be an object")
    allowed = ASKED[verb]
    for name in content:
        if name not in allowed:
            raise InvalidRequest(name[:80], f"unknown; there are {', '.join(allowed)}")
    instances = content.pop(INSTANCES, None)
    if instances == []:
        raise InvalidRequest(INSTANCES, "empty; must have at least one example")
    if not isinstance(instances, list):
        raise InvalidRequest(INSTANCES, f"{shown(instances)}; must be a list of examples")
    made = kind()
    made.model.name = request.path_params["model"]
    reader.read(made, content | {"inputs": _inputs(instances)}, datatypes=datatypes)
    return bytes(made.SerializeToString())


def _inputs(instances: list[Any]) -> list[dict[str, Any]]:
    """Returns tensors of instances, which are values, or objects with the values of each input."""
    if not isinstance(instances[0], dict) or ENCODED in instances[0]:
        return [{"values": [_decoded(each) for each in instances]}]
    names = [*instances[0]]
    for index, each in enumerate(instances):
        if not isinstance(each, dict) or {*each} != {*names}:
            raise InvalidRequest(
                f"{INSTANCES}[{index}]", f"must be an object with {', '.join(names)[:200]}"
            )
    return [
        {"name": name, "values": [_decoded(each[name]) for each in instances]} for name in names
    ]


def _decoded(value: Any) -> Any:
    return value[ENCODED] if isinstance(value, dict) and {*value} == {ENCODED} else value


def _rows(tensor: Any) -> list[str]:
    """Returns the rows of an output as JSON."""
    array = writer.array_of(tensor)
    if array is None:
        raise InvalidRequest("instances", "outputs have too many numbers for JSON; send fewer")
    if array.ndim > 1:
        return ["".join(writer.nested(row)) for row in array]
    return ["".join(writer.nested(row))[1:-1] for row in array.reshape(-1, 1)]


def _joined(outputs: Mapping[str, list[str]]) -> list[str]:
    names = [json.dumps(name) for name in outputs]
    return [
        "{" + ",".join(f"{name}:{row}" for name, row in zip(names, rows, strict=True)) + "}"
        for rows in zip(*outputs.values(), strict=True)
    ]


def _answer(name: str, rows: list[str], model: Any) -> str:
    facts = f'"model_name":{json.dumps(model.name)},"model_version":{json.dumps(model.version)}'
    return f'{{"{name}":[{",".join(rows)}],{facts}}}'


def _json(content: Any) -> Response:
    return _json_text(json.dumps(content, ensure_ascii=False), "")


def _json_text(text: str, request_id: str) -> Response:
    headers = {ID_KEY: request_id} if request_id else {}
    return Response(text, headers=headers, media_type="application/json")
