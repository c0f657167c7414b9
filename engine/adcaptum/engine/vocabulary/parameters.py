"""The parameters of methods, derived from the fields of their dataclasses.

A method is a frozen dataclass; each field is declared with `parameter`, which gives its bounds and
its text. Its type is read from the annotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from enum import Enum
from functools import cache
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from adcaptum.engine.errors import InvalidArgument


class ParameterType(Enum):
    """The type of a parameter."""

    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    INTEGERS = "integers"
    METHOD = "method"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A method's parameter: type, default, bounds and text.

    Attributes:
        name: The field's name.
        type: Its type.
        default: Its default; None where the input decides.
        minimum: The smallest value allowed.
        maximum: The largest value allowed.
        choices: The words allowed, for CHOICE.
        text: Its effect, in a sentence.
    """

    name: str
    type: ParameterType
    default: object
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    text: str


def parameter(
    default: Any = MISSING,
    text: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    default_factory: Any = MISSING,
) -> Any:
    """Declares a parameter: a dataclass field with its text and bounds.

    Args:
        default: Its default; None where the input decides.
        text: Its effect, in a sentence, with its unit.
        minimum: The smallest value allowed.
        maximum: The largest value allowed.
        default_factory: Makes the default, for parameters that are methods.
    """
    metadata = {"text": text, "minimum": minimum, "maximum": maximum}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@cache
def describe(method: type) -> tuple[Parameter, ...]:
    """Returns the parameters of a method, in order."""
    hints = get_type_hints(method)
    return tuple(
        Parameter(
            name=f.name,
            type=_type(hints[f.name]),
            default=f.default_factory() if f.default_factory is not MISSING else f.default,
            minimum=f.metadata.get("minimum"),
            maximum=f.metadata.get("maximum"),
            choices=_choices(hints[f.name]),
            text=f.metadata.get("text", ""),
        )
        for f in fields(method)
    )


def resolve(method: type, values: Mapping[str, object], prefix: str = "params") -> Any:
    """Makes a method from the parameters given, the others at their defaults.

    Args:
        method: The method's class.
        values: Parameters by name.
        prefix: The prefix of names in errors.

    Raises:
        InvalidArgument: For an unknown parameter, a wrong type, or a value out of bounds.
    """
    known = {p.name: p for p in describe(method)}
    for name, value in values.items():
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"it has {', '.join(known) or 'none'}"
            )
            raise InvalidArgument(f"{prefix}.{name}", repr(value), f"no such parameter; {hint}")
    return method(**{name: _checked(known[name], value, prefix) for name, value in values.items()})


def check(method: object) -> None:
    """Checks the parameters of a method that was made without `resolve`.

    The largest whole numbers bound what a server spends; a library's caller may exceed them.

    Args:
        method: The method; one that is not a dataclass of parameters has none to check.

    Raises:
        InvalidArgument: For a value of a wrong type or out of bounds.
    """
    kind: type = type(method)
    for known in _own(kind):
        value = getattr(method, known.name)
        if value is known.default:
            continue
        whole = known.type in {ParameterType.INTEGER, ParameterType.INTEGERS}
        _checked(replace(known, maximum=None) if whole else known, value, "")
        if known.type is ParameterType.METHOD:
            check(value)


@cache
def _own(method: type) -> tuple[Parameter, ...]:
    """Returns the parameters that a class declares with `parameter`; none if it has no fields."""
    own = {f.name for f in fields(method) if "text" in f.metadata} if is_dataclass(method) else ()
    return tuple(known for known in describe(method) if known.name in own) if own else ()


def _checked(known: Parameter, value: object, prefix: str) -> object:
    name = f"{prefix}.{known.name}" if prefix else known.name
    match known.type:
        case ParameterType.INTEGER if isinstance(value, Integral) and not isinstance(value, bool):
            return _bounded(known, name, value)
        case ParameterType.NUMBER if isinstance(value, Real) and not isinstance(value, bool):
            return _bounded(known, name, float(value))
        case ParameterType.FLAG if isinstance(value, bool):
            return value
        case ParameterType.CHOICE if value in known.choices:
            return value
        case ParameterType.INTEGERS:
            numbers = value if isinstance(value, Sequence) else (value,)
            if numbers and all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
                return tuple(_bounded(known, name, n) for n in numbers)
        case ParameterType.METHOD if "traits" in dir(type(value)):
            return value
    allowed = (
        f"one of {', '.join(known.choices)}" if known.choices else f"of type {known.type.value}"
    )
    raise InvalidArgument(name, repr(value), allowed)


def _bounded(known: Parameter, name: str, value: Any) -> Any:
    low, high = known.minimum, known.maximum
    if (
        not isfinite(value)
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        bounds = [f"at least {low:g}"] if low is not None else []
        bounds += [f"at most {high:g}"] if high is not None else []
        raise InvalidArgument(name, repr(value), " and ".join(bounds) or "a finite number")
    return value


def _plain(hint: Any) -> Any:
    """The hint without its None."""
    if get_origin(hint) is UnionType:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return hint


def _type(hint: Any) -> ParameterType:
    hint = _plain(hint)
    if get_origin(hint) is Literal:
        return ParameterType.CHOICE
    if get_origin(hint) is tuple:
        return ParameterType.INTEGERS
    simple = {int: ParameterType.INTEGER, float: ParameterType.NUMBER, bool: ParameterType.FLAG}
    return simple.get(hint, ParameterType.METHOD)


def _choices(hint: Any) -> tuple[str, ...]:
    hint = _plain(hint)
    return get_args(hint) if get_origin(hint) is Literal else ()
