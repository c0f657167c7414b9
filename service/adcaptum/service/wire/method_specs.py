"""Methods in messages <-> methods of the engine, all derived from the methods' fields."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import Parameter, ParameterType, describe, resolve
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import shortened
from adcaptum.service.wire.abilities import NEURON, Abilities
from adcaptum.v1 import explanation_pb2, method_pb2

TYPES: Final[Mapping[ParameterType, method_pb2.ParameterType.ValueType]] = {
    ParameterType.INTEGER: method_pb2.PARAMETER_TYPE_INTEGER,
    ParameterType.NUMBER: method_pb2.PARAMETER_TYPE_NUMBER,
    ParameterType.FLAG: method_pb2.PARAMETER_TYPE_FLAG,
    ParameterType.CHOICE: method_pb2.PARAMETER_TYPE_CHOICE,
    ParameterType.INTEGERS: method_pb2.PARAMETER_TYPE_INTEGERS,
    ParameterType.METHOD: method_pb2.PARAMETER_TYPE_METHOD,
}
SITE_USES: Final[Mapping[str, method_pb2.SiteUse.ValueType]] = {
    "never": method_pb2.SITE_USE_NO_LAYER,
    "optional": method_pb2.SITE_USE_LAYER_OPTIONAL,
    "required": method_pb2.SITE_USE_LAYER_REQUIRED,
    "through": method_pb2.SITE_USE_INPUTS_WITH_LAYER,
}
DEEPEST: Final = 8
"""The most methods inside one another."""

MOST_INTEGERS: Final = 256
"""The most numbers in a list; they are lengths of dimensions, or indices, of each input."""

LARGEST_INTEGER: Final = 1 << 53
"""The largest whole number up to which JSON has every whole number."""

MOST_CACHED: Final = 1024
"""The most resolved methods in the cache."""

MOST_CACHED_BYTES: Final = 1024
"""The longest method in the cache, serialised: with what it resolves to, all take some 10 MB."""

ANYWHERE: Final = "methods"
"""The path in errors of a method that no request names."""


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedMethod:
    """A method with every parameter.

    Attributes:
        method: The method of the engine.
        spec: Its message, defaults included.
        abilities: Its abilities, with those of the methods inside it.
        result: A serialised `MethodResult` that has only this method.
    """

    method: Method
    spec: method_pb2.MethodSpec
    abilities: Abilities
    result: bytes

    @classmethod
    def of(cls, method: Method) -> Self:
        """Writes a method's message and finds its abilities."""
        spec = write(method)
        result = explanation_pb2.MethodResult(method=spec).SerializeToString()
        return cls(method, spec, Abilities.of(method), result)


def read(spec: method_pb2.MethodSpec, field: str) -> ResolvedMethod:
    """Reads a method.

    Args:
        spec: The method; equal ones resolve to the same object while the cache has it.
        field: Its path in the request.

    Raises:
        InvalidRequest: There is none of that name, or a parameter is unknown, of another type or
            out of bounds.
    """
    content = spec.SerializeToString(deterministic=True)
    if len(content) > MOST_CACHED_BYTES:
        return ResolvedMethod.of(_read(spec.name, spec.params, field, DEEPEST))
    try:
        return _cached(content)
    except InvalidRequest:
        # Again, for an error with this path. The cache has no path: it is no part of the method.
        return ResolvedMethod.of(_read(spec.name, spec.params, field, DEEPEST))


def write(method: Method) -> method_pb2.MethodSpec:
    """Writes a method with every parameter that has a value."""
    return method_pb2.MethodSpec(name=method.traits.name, params=_params(method))


def describe_method(method: type[Method]) -> method_pb2.Method:
    """Describes a method, without its availability to any model."""
    traits, parameters = method.traits, describe(method)
    through = any(each.name == NEURON for each in parameters)
    return method_pb2.Method(
        name=traits.name,
        title=method.__name__,
        description=(inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " "),
        paper=traits.paper,
        parameters=[_describe_parameter(each) for each in parameters if each.name != NEURON],
        needs_gradients=traits.gradient,
        uses_baseline=traits.baseline,
        uses_seed=traits.random,
        accepts_feature_masks=traits.feature_masks,
        accepts_distribution=traits.background,
        accepts_tolerance=traits.tolerance,
        accepts_neuron=through,
        # The neuron names its layer.
        site_use=method_pb2.SITE_USE_NO_LAYER if through else SITE_USES[traits.layer],
    )


def _describe_parameter(parameter: Parameter) -> method_pb2.Parameter:
    return method_pb2.Parameter(
        name=parameter.name,
        type=TYPES[parameter.type],
        default_value=_write_value(parameter.default),
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=parameter.choices,
        description=parameter.text,
    )


@lru_cache(maxsize=MOST_CACHED)
def _cached(content: bytes) -> ResolvedMethod:
    spec = method_pb2.MethodSpec.FromString(content)
    return ResolvedMethod.of(_read(spec.name, spec.params, ANYWHERE, DEEPEST))


def _read(name: str, params: Mapping[str, Value], field: str, depth: int) -> Method:
    if depth == 0:
        raise InvalidRequest(field, f"methods wrap methods more than {DEEPEST} deep")
    method = _class(name, f"{field}.name")
    # A neuron is a field of the question.
    known = {each.name: each for each in describe(method) if each.name != NEURON}
    values: dict[str, object] = {}
    for key, value in sorted(params.items()):
        place = f"{field}.params.{shortened(key)[1:-1]}"
        if key not in known:
            raise InvalidRequest.unknown(place, key, known, Reason.PARAMETER_UNKNOWN)
        values[key] = _read_value(value, known[key], place, depth)
    try:
        resolved: Method = resolve(method, values, prefix=f"{field}.params")
    except InvalidArgument as error:
        raise InvalidRequest(error.field, f"{shortened(error.value)}: {error.allowed}") from error
    except ValueError as error:
        raise InvalidRequest(field, str(error)) from error
    return resolved


def _class(name: str, field: str) -> type[Method]:
    if not name:
        raise InvalidRequest(field, f"missing; must be one of {', '.join(METHODS)}")
    if name not in METHODS:
        raise InvalidRequest.unknown(field, name, METHODS, Reason.METHOD_UNKNOWN)
    return METHODS[name]


KINDS: Final[Mapping[str | None, str]] = {
    "null_value": "null",
    "number_value": "a number",
    "string_value": "a string",
    "bool_value": "true or false",
    "struct_value": "an object",
    "list_value": "a list",
    None: "nothing",
}
ACCEPTED: Final[Mapping[ParameterType, tuple[tuple[str, ...], str]]] = {
    ParameterType.INTEGER: (("number_value",), "a whole number"),
    ParameterType.NUMBER: (("number_value",), "a number"),
    ParameterType.FLAG: (("bool_value",), "true or false"),
    ParameterType.CHOICE: (("string_value",), "a string"),
    ParameterType.INTEGERS: (("list_value", "number_value"), "a list of whole numbers"),
    ParameterType.METHOD: (("struct_value",), 'a method, {"name": ..., "params": {...}}'),
}
"""By the type of a parameter, the kinds of JSON that its values have, and their name."""


def _read_value(value: Value, parameter: Parameter, field: str, depth: int) -> object:
    kind = value.WhichOneof("kind")
    accepted, named = ACCEPTED[parameter.type]
    if kind not in accepted:
        raise InvalidRequest(field, f"{KINDS[kind]} was given; must be {named}")
    match parameter.type:
        case ParameterType.INTEGER:
            return _whole(value, field)
        case ParameterType.NUMBER:
            if not math.isfinite(value.number_value):
                raise InvalidRequest(field, f"{value.number_value}; must be finite")
            return value.number_value
        case ParameterType.FLAG:
            return value.bool_value
        case ParameterType.CHOICE:
            return value.string_value
        case ParameterType.INTEGERS:
            return _integers(value, field)
        case ParameterType.METHOD:
            return _method(value.struct_value, field, depth)


def _whole(value: Value, field: str) -> int:
    number = value.number_value
    if value.WhichOneof("kind") != "number_value":
        raise InvalidRequest(field, f"{KINDS[value.WhichOneof('kind')]}; must be a whole number")
    if not number.is_integer() or abs(number) > LARGEST_INTEGER:
        raise InvalidRequest(
            field, f"{number:g}; must be a whole number, of magnitude 2**53 at most"
        )
    return int(number)


def _integers(value: Value, field: str) -> tuple[int, ...]:
    if value.WhichOneof("kind") == "number_value":
        return (_whole(value, field),)
    values = value.list_value.values
    if len(values) > MOST_INTEGERS:
        raise InvalidRequest(field, f"{len(values)} numbers; at most {MOST_INTEGERS} are allowed")
    return tuple(_whole(each, f"{field}[{index}]") for index, each in enumerate(values))


def _method(struct: Struct, field: str, depth: int) -> Method:
    fields = struct.fields
    for key in fields:
        if key not in ("name", "params"):
            raise InvalidRequest(
                f"{field}.{shortened(key)[1:-1]}",
                "a method inside a method has a name and params only",
                reason=Reason.FIELD_UNKNOWN,
            )
    if "name" not in fields or fields["name"].WhichOneof("kind") != "string_value":
        raise InvalidRequest(f"{field}.name", "must be a string, the name of a method")
    params: Mapping[str, Value] = {}
    if "params" in fields:
        if (kind := fields["params"].WhichOneof("kind")) != "struct_value":
            raise InvalidRequest(f"{field}.params", f"{KINDS[kind]} was given; must be an object")
        params = fields["params"].struct_value.fields
    return _read(fields["name"].string_value, params, field, depth - 1)


def _params(method: Method) -> dict[str, Value]:
    params = {}
    for parameter in describe(type(method)):
        value = _write_value(getattr(method, parameter.name))
        if value is not None and parameter.name != NEURON:
            params[parameter.name] = value
    return params


def _write_value(value: object) -> Value | None:
    match value:
        case bool():  # before int: it is one
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case tuple():
            return Value(list_value=ListValue(values=[Value(number_value=n) for n in value]))
        case Method():
            own = Struct(fields={"name": Value(string_value=value.traits.name)})
            own.fields["params"].struct_value.CopyFrom(Struct(fields=_params(value)))
            return Value(struct_value=own)
        case _:
            return None
