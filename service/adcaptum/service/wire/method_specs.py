"""Methods in messages <-> methods of the engine, all derived from the methods' fields."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import Parameter, ParameterType, describe, resolve
from adcaptum.service.errors import InvalidRequest, NotFound
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.wire.abilities import Abilities
from adcaptum.v1 import method_pb2

TYPES: Final[Mapping[ParameterType, method_pb2.ParameterType.ValueType]] = {
    ParameterType.INTEGER: method_pb2.PARAMETER_TYPE_INTEGER,
    ParameterType.NUMBER: method_pb2.PARAMETER_TYPE_NUMBER,
    ParameterType.FLAG: method_pb2.PARAMETER_TYPE_FLAG,
    ParameterType.CHOICE: method_pb2.PARAMETER_TYPE_CHOICE,
    ParameterType.INTEGERS: method_pb2.PARAMETER_TYPE_INTEGERS,
    ParameterType.METHOD: method_pb2.PARAMETER_TYPE_METHOD,
}
DEEPEST: Final = 8
"""The most methods inside one another."""

MOST_INTEGERS: Final = 256
"""The most numbers in a list; they are lengths of dimensions, or indices, of each input."""

MOST_CACHED: Final = 1024
"""The most resolved methods in the cache."""

MOST_CACHED_BYTES: Final = 1024
"""The longest method in the cache, serialised: with what it resolves to, all take some 10 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedMethod:
    """A method with every parameter.

    Attributes:
        method: The method of the engine.
        spec: Its message, defaults included.
        abilities: Its abilities, with those of the methods inside it.
    """

    method: Method
    spec: method_pb2.MethodSpec
    abilities: Abilities

    @classmethod
    def of(cls, method: Method) -> Self:
        """Writes a method's message and finds its abilities."""
        return cls(method, write(method), Abilities.of(method))


def read(spec: method_pb2.MethodSpec, field: str) -> ResolvedMethod:
    """Reads a method.

    Raises:
        NotFound: There is none of that name.
        InvalidRequest: A parameter is unknown, of another type or out of bounds.
    """
    spec.DiscardUnknownFields()
    content = spec.SerializeToString(deterministic=True)
    if len(content) > MOST_CACHED_BYTES:
        return _resolved(content, field)
    return _cached(content, field)


def by_name(name: str, params: Mapping[str, object]) -> ResolvedMethod:
    """Makes a method from plain values.

    Raises:
        NotFound: There is none of that name.
        InvalidArgument: A parameter is unknown, of another type or out of bounds.
    """
    return ResolvedMethod.of(resolve(_class(name), params))


def write(method: Method) -> method_pb2.MethodSpec:
    """Writes a method with every parameter that has a value."""
    params = {}
    for parameter in describe(type(method)):
        value = _write_value(parameter, getattr(method, parameter.name))
        if value is not None:
            params[parameter.name] = value
    return method_pb2.MethodSpec(name=method.traits.name, params=params)


def describe_method(method: type[Method]) -> method_pb2.Method:
    """Describes a method, as available to any model."""
    return method_pb2.Method(
        name=method.traits.name,
        title=method.__name__,
        summary=(inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " "),
        paper=method.traits.paper,
        parameters=[_describe_parameter(parameter) for parameter in describe(method)],
        gradient=method.traits.gradient,
        baseline=method.traits.baseline,
        random=method.traits.random,
        available=True,
        layers=method.traits.layer != "never",
        layer_required=needs_layer(method.traits.layer),
        feature_masks=method.traits.feature_masks,
        background=method.traits.background,
        tolerance=method.traits.tolerance,
    )


def _describe_parameter(parameter: Parameter) -> method_pb2.Parameter:
    return method_pb2.Parameter(
        name=parameter.name,
        type=TYPES[parameter.type],
        default_value=_write_value(parameter, parameter.default),
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=parameter.choices,
        text=parameter.text,
    )


@lru_cache(maxsize=MOST_CACHED)
def _cached(spec: bytes, field: str) -> ResolvedMethod:
    return _resolved(spec, field)


def _resolved(spec: bytes, field: str) -> ResolvedMethod:
    return ResolvedMethod.of(_read(method_pb2.MethodSpec.FromString(spec), field, DEEPEST))


def _read(spec: method_pb2.MethodSpec, field: str, depth: int) -> Method:
    if depth == 0:
        raise InvalidRequest(field, f"methods wrap methods more than {DEEPEST} deep")
    method = _class(spec.name)
    known = {parameter.name: parameter for parameter in describe(method)}
    values: dict[str, object] = {}
    for name, value in sorted(spec.params.items()):
        place = f"{field}.params.{shortened(name)[1:-1]}"
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidRequest(place, f"{spec.name} has no such parameter. {hint}")
        values[name] = _read_value(value, known[name], place, depth)
    try:
        resolved: Method = resolve(method, values, prefix=f"{field}.params")
    except InvalidArgument as error:
        raise InvalidRequest(error.field, f"{shortened(error.value)}: {error.allowed}") from error
    except ValueError as error:
        raise InvalidRequest(field, str(error)) from error
    return resolved


def _class(name: str) -> type[Method]:
    if name not in METHODS:
        raise NotFound("method", name, METHODS)
    return METHODS[name]


ACCEPTED: Final[Mapping[ParameterType, tuple[str, ...]]] = {
    ParameterType.INTEGER: ("integer",),
    ParameterType.NUMBER: ("number", "integer"),
    ParameterType.FLAG: ("flag",),
    ParameterType.CHOICE: ("text",),
    ParameterType.INTEGERS: ("integers", "integer"),
    ParameterType.METHOD: ("method",),
}
"""The fields of a ParameterValue that may hold a parameter, by the parameter's type."""


def _read_value(
    value: method_pb2.ParameterValue, parameter: Parameter, field: str, depth: int
) -> object:
    kind = value.WhichOneof("kind")
    if kind is None or kind not in ACCEPTED[parameter.type]:
        accepted = " or ".join(ACCEPTED[parameter.type])
        raise InvalidRequest(field, f"{kind or 'nothing'} was given; must be {accepted}")
    if kind == "number" and not math.isfinite(value.number):
        raise InvalidRequest(field, f"{value.number}; must be finite")
    if kind == "integers":
        count = len(value.integers.values)
        if count > MOST_INTEGERS:
            raise InvalidRequest(field, f"{count} numbers; at most {MOST_INTEGERS} are allowed")
        return tuple(value.integers.values)
    if kind == "method":
        return _read(value.method, f"{field}.method", depth - 1)
    return {"integer": value.integer, "number": value.number, "flag": value.flag}.get(
        kind, value.text
    )


def _write_value(parameter: Parameter, value: object) -> method_pb2.ParameterValue | None:
    make = method_pb2.ParameterValue
    made: method_pb2.ParameterValue | None = None
    # bool before int: it is one.
    if isinstance(value, bool):
        made = make(flag=value)
    elif isinstance(value, int | float) and parameter.type is ParameterType.NUMBER:
        made = make(number=value)
    elif isinstance(value, int):
        made = make(integer=value)
    elif isinstance(value, str):
        made = make(text=value)
    elif isinstance(value, tuple):
        made = make(integers=method_pb2.IntegerList(values=value))
    elif isinstance(value, Method):
        made = make(method=write(value))
    return made
