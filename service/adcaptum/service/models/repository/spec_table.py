"""Tables of `model.toml` that are messages in their JSON form."""

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from adcaptum.service.nearest import did_you_mean, shortened

M = TypeVar("M", bound=Message)

ANY_VALUE: Final = "google.protobuf.Value"
LIST_VALUE: Final = "google.protobuf.ListValue"

BOUNDS: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}
"""The smallest and the largest number of each type of whole numbers."""


class WrongValue(ValueError):
    """A key that the message lacks, or a value that it does not take.

    Attributes:
        path: The keys that lead to it, such as `methods[0].name`.
        problem: The value, and what is allowed.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read(values: Mapping[str, Any], into: M) -> M:
    """Fills a message from a table, and returns it.

    Keys are the names of the message's fields, numbers and texts are of their types, and enums are
    the names of their values.

    Raises:
        WrongValue: The table is not of the message's form.
    """
    _check_message(values, cast("Descriptor", into.DESCRIPTOR), "")
    try:
        json_format.ParseDict(dict(values), into)
    except json_format.ParseError as error:
        raise WrongValue(next(iter(values), ""), shortened(str(error), most=300)) from error
    return into


def _check_message(value: object, kind: Descriptor, path: str) -> None:
    if kind.full_name == ANY_VALUE:
        _check_plain(value, path)
        return
    if kind.full_name == LIST_VALUE:
        for place, each in _places(value, path):
            _check_plain(each, place)
        return
    if not isinstance(value, Mapping):
        raise WrongValue(path, f"{shortened(value)} is not a table")
    chosen: dict[str, str] = {}
    for key, inner in value.items():
        place = f"{path}.{key}" if path else key
        field = kind.fields_by_name.get(key)
        if field is None:
            raise WrongValue(place, f"unknown field. {did_you_mean(key, kind.fields_by_name)}")
        oneof = field.containing_oneof
        if oneof is not None and (other := chosen.setdefault(oneof.name, key)) != key:
            raise WrongValue(place, f"only one of {other!r} and {key!r} can be given")
        _check_field(inner, field, place)


def _check_field(value: object, field: FieldDescriptor, path: str) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        if not isinstance(value, Mapping):
            raise WrongValue(path, f"{shortened(value)} is not a table")
        for key, each in value.items():
            _check_one(each, inner.fields_by_name["value"], f"{path}.{key}")
    elif field.is_repeated:
        for place, each in _places(value, path):
            _check_one(each, field, place)
    else:
        _check_one(value, field, path)


def _check_one(value: object, field: FieldDescriptor, path: str) -> None:
    if field.message_type is not None:
        _check_message(value, field.message_type, path)
    elif field.enum_type is not None:
        _check_enum(value, field.enum_type, path)
    elif field.cpp_type in BOUNDS:
        least, most = BOUNDS[field.cpp_type]
        if not isinstance(value, int) or isinstance(value, bool):
            raise WrongValue(path, f"{shortened(value)} is not a whole number")
        if not least <= value <= most:
            raise WrongValue(path, f"{value} is not from {least} to {most}")
    elif field.type == FieldDescriptor.TYPE_BYTES:
        _check_base64(value, path)
    else:
        allowed, fits = SCALARS[field.cpp_type]
        if not fits(value):
            raise WrongValue(path, f"{shortened(value)} is not {allowed}")


def _check_enum(value: object, kind: EnumDescriptor, path: str) -> None:
    if value not in kind.values_by_name:
        allowed = ", ".join(f"'{name}'" for name in kind.values_by_name)
        raise WrongValue(path, f"{shortened(value)} is not one of {allowed}")


def _check_base64(value: object, path: str) -> None:
    try:
        base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except ValueError as error:
        raise WrongValue(path, f"{shortened(value)} is not a text in base64") from error


def _check_plain(value: object, path: str) -> None:
    """Checks a value of any JSON type."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_plain(each, f"{path}.{key}")
    elif isinstance(value, list):
        for place, each in _places(value, path):
            _check_plain(each, place)
    elif not (isinstance(value, bool | str) or _is_number(value)):
        raise WrongValue(
            path, f"{shortened(value)} is not a finite number, a text, true, false, list or table"
        )


def _places(value: object, path: str) -> Iterable[tuple[str, object]]:
    if not isinstance(value, list):
        raise WrongValue(path, f"{shortened(value)} is not a list")
    return ((f"{path}[{index}]", each) for index, each in enumerate(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


SCALARS: Final[Mapping[int, tuple[str, Callable[[object], bool]]]] = {
    FieldDescriptor.CPPTYPE_DOUBLE: ("a finite number", _is_number),
    FieldDescriptor.CPPTYPE_BOOL: ("true or false", lambda value: isinstance(value, bool)),
    FieldDescriptor.CPPTYPE_STRING: ("a text", lambda value: isinstance(value, str)),
}
"""By type of a field: what it takes, in words, and the test of a value."""
