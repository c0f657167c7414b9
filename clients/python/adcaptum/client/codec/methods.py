"""Methods with their parameters, as messages and back."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf import struct_pb2

from adcaptum.client.errors import InvalidRequest
from adcaptum.client.method import Method
from adcaptum.v1 import method_pb2


def write_method(into: method_pb2.MethodSpec, method: str | Method) -> None:
    """Write a method with its parameters into an empty message.

    Raises:
        InvalidRequest: It is no method, or a parameter has a type that JSON lacks.
    """
    if isinstance(method, str):
        into.name = method
        return
    if not isinstance(method, Method):
        raise InvalidRequest(f"methods: {method!r} is neither a name nor a Method")
    into.name = method.name
    for name, value in method.params.items():
        _write_value(into.params[name], value, f"params.{name}")


def decode_method(spec: method_pb2.MethodSpec) -> Method:
    """Decode a method with its parameters, in the order of their names."""
    params = spec.params
    return Method(spec.name, **{name: decode_value(params[name]) for name in sorted(params)})


def decode_value(value: struct_pb2.Value) -> Any:
    """Decode the value of a parameter: whole numbers as int, objects with a name as Method."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "list_value":
            return tuple(decode_value(each) for each in value.list_value.values)
        case "struct_value":
            return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    fields = {name: decode_value(struct.fields[name]) for name in sorted(struct.fields)}
    name, params = fields.get("name"), fields.get("params", {})
    if isinstance(name, str) and isinstance(params, dict) and fields.keys() <= {"name", "params"}:
        return Method(name, **params)
    return fields


def _write_value(into: struct_pb2.Value, value: object, path: str) -> None:
    match value:
        case bool() | np.bool_():  # before numbers: True is one
            into.bool_value = bool(value)
        case int() | float() | np.integer() | np.floating():
            into.number_value = float(value)
        case str():
            into.string_value = value
        case Method():
            fields = into.struct_value.fields
            fields["name"].string_value = value.name
            if value.params:
                _write_struct(fields["params"].struct_value, value.params, path)
        case Mapping():
            into.struct_value.SetInParent()
            _write_struct(into.struct_value, value, path)
        case np.ndarray():
            _write_value(into, value.tolist(), path)
        case Iterable():
            into.list_value.SetInParent()
            for each in value:
                _write_value(into.list_value.values.add(), each, path)
        case _:
            raise InvalidRequest(f"{path}: {value!r} is not what a parameter can be")


def _write_struct(into: struct_pb2.Struct, values: Mapping[str, Any], path: str) -> None:
    for name, value in values.items():
        _write_value(into.fields[name], value, f"{path}.{name}")
