"""The OpenAPI document of the JSON interface, from the compiled .proto files and the routes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2

from adcaptum.service.protocols.api.endpoints import EVENTS, LINES, TENSORS
from adcaptum.service.protocols.api.rpc_route import PREFIX, ROUTES, RpcRoute
from docs.generators.markdown import flat
from docs.generators.protocol import comment, compiled

Field = descriptor_pb2.FieldDescriptorProto
Schema = dict[str, Any]

NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
"""The schema of names of models, versions and aliases."""

NULL: Final = {"type": "null"}
LARGE: Final = (Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_SINT64)
DOUBLE: Final = {
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
}
WELL_KNOWN: Final[Mapping[str, Schema]] = {
    ".google.protobuf.Value": {"description": "Any JSON."},
    ".google.protobuf.ListValue": {"type": "array", "items": {}},
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
PROBLEM: Final = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer", "description": "The status."},
        "detail": {"type": "string", "description": "What is wrong, for people."},
        "code": {"type": "string", "description": "The code of gRPC."},
        "reason": {"type": "string", "description": "The reason, for programs; see Errors."},
        "violations": {
            "type": "array",
            "description": "The fields that are wrong.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
        "metadata": {
            "type": "object",
            "description": "Numbers and names that programs need beside the reason.",
            "additionalProperties": {"type": "string"},
        },
        "request_id": {"type": "string", "description": "The id in the server's log."},
    },
}
ABOUT: Final = (
    "Predictions and explanations as JSON. Bodies are the requests of the protocol of gRPC "
    "without their `model`, which the path names; names are those of the .proto files. The header "
    "`Grpc-Timeout: 2S` is the deadline. `x-request-id`, `x-caller-id`, `traceparent` and "
    "`authorization` are taken as over gRPC."
)


def document() -> str:
    """Return the document."""
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    calls: dict[str, str] = {}
    for file in compiled():
        comments = {tuple(each.path): each for each in file.source_code_info.location}
        for place, service in enumerate(file.service):
            for number, call in enumerate(service.method):
                calls[f"{service.name}.{call.name}"] = flat(
                    comment(comments, (6, place, 2, number))
                )
        for place, message in enumerate(file.message_type):
            schemas[message.name] = _message(message, comments, (4, place))
        for place, enum in enumerate(file.enum_type):
            names = [each.name for each in enum.value]
            numbers = [each.number for each in enum.value]
            schemas[enum.name] = {
                "description": flat(comment(comments, (5, place))),
                "enum": [*names, *numbers],
            }
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.verb.lower()] = _operation(
            route, calls[route.rpc], schemas
        )
    for name in {each for route in ROUTES if route.verb == "POST" for each in [_body_name(route)]}:
        _without_model(schemas, name)
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "adcaptum",
            "version": "v1",
            "description": ABOUT,
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "paths": paths,
        "components": {"schemas": _used(schemas, paths)},
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _operation(route: RpcRoute, text: str, schemas: Mapping[str, Any]) -> Schema:
    """Return what is said of a route."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": NAME} for name in route.bound
    ]
    request = schemas[route.method.input_type.name]
    for name, field in route.asked.items():
        schema = NAME if "." in field else _in_query(request["properties"][field])
        about = "" if "." in field else request["properties"][field].get("description", "")
        parameters.append({"name": name, "in": "query", "schema": schema, "description": about})
    parameters.append(
        {
            "name": TENSORS,
            "in": "query",
            "schema": {"enum": ["data", "values"]},
            "description": "The form of tensors in the reply; unset: as the inputs came.",
        }
    )
    reply = {"$ref": f"#/components/schemas/{route.method.output_type.name}"}
    media = "application/json"
    content: dict[str, Any] = {media: {"schema": reply}}
    if route.streamed:
        content = {EVENTS: {"schema": {"type": "string"}}, LINES: {"schema": {"type": "string"}}}
    problem = {"$ref": "#/components/schemas/Problem"}
    where = [name for name in route.bound if name != "model"]
    ident = route.method.name[0].lower() + route.method.name[1:]
    found: Schema = {
        "operationId": ident + "".join(f"Of{name.title()}" for name in where),
        "description": text,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {
                "description": "An error.",
                "content": {"application/problem+json": {"schema": problem}},
            },
        },
    }
    if route.verb == "POST":
        body = {"$ref": f"#/components/schemas/{_body_name(route)}"}
        found["requestBody"] = {"required": bool(route.bound), "content": {media: {"schema": body}}}
    return found


def _in_query(schema: Schema) -> Schema:
    """Return the schema of a field that stands in a query, where all is text."""
    found = schema["anyOf"][0]
    # The numbers of `_kind` may be texts in JSON, and are in a query.
    return dict(found["anyOf"][0] if "anyOf" in found else found)


def _body_name(route: RpcRoute) -> str:
    """Return the name of the schema of a body."""
    name: str = route.method.input_type.name
    if route.wrapped:
        wrapped: Any = route.method.input_type.fields_by_name[route.wrapped].message_type
        name = wrapped.name
    return f"{name}Body" if route.bound else name


def _without_model(schemas: dict[str, Any], name: str) -> None:
    """Add the schema of a body whose model stands in the path."""
    if not name.endswith("Body"):
        return
    whole = schemas[name.removesuffix("Body")]
    properties = {key: each for key, each in whole["properties"].items() if key != "model"}
    schemas[name] = whole | {"properties": properties}


def _message(message: descriptor_pb2.DescriptorProto, comments: Any, path: Any) -> Schema:
    """Return the schema of a message."""
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    properties: dict[str, Any] = {}
    for number, field in enumerate(message.field):
        entry = maps.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            schema: Schema = {"type": "object", "additionalProperties": _kind(entry.field[1])}
        elif field.label == Field.LABEL_REPEATED:
            schema = {"type": "array", "items": _kind(field)}
        else:
            schema = _kind(field)
        # A field that is null is one that is not set.
        described = {
            "anyOf": [schema, NULL],
            "description": flat(comment(comments, (*path, 2, number))),
        }
        properties[field.name] = described
    return {
        "type": "object",
        "description": flat(comment(comments, path)),
        "properties": properties,
        "additionalProperties": False,
    }


def _kind(field: Field) -> Schema:
    """Return the schema of a value of a field."""
    if field.type_name:
        known = WELL_KNOWN.get(field.type_name)
        short = field.type_name.rpartition(".")[2]
        return dict(known) if known is not None else {"$ref": f"#/components/schemas/{short}"}
    if field.type == Field.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == Field.TYPE_STRING:
        return {"type": "string"}
    if field.type == Field.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.type in (Field.TYPE_DOUBLE, Field.TYPE_FLOAT):
        return dict(DOUBLE)
    bits = 63 if field.type in LARGE else 31
    whole = {"type": "integer", "minimum": -(1 << bits), "maximum": (1 << bits) - 1}
    return {"anyOf": [whole, {"type": "string", "pattern": "^-?[0-9]{1,20}$"}]}


def _used(schemas: Mapping[str, Any], paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas that the routes lead to, in order."""
    left, found = list(_references(paths)), dict[str, Any]()
    while left:
        name = left.pop()
        if name not in found:
            found[name] = schemas[name]
            left += _references(schemas[name])
    return dict(sorted(found.items()))


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)
