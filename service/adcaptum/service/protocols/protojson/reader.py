"""JSON -> messages, with the path, the value and what is allowed in every error.

The rules are ProtoJSON's. Names are those of the .proto files, or in camelCase; unknown ones are
refused. `values` of tensors do not go through protobuf's own JSON reader, which takes 2 us for each
number.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor as Field
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Value

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.protocols.protojson import lists
from adcaptum.service.protocols.protojson.elements import check_text, shown
from adcaptum.service.wire import typed_values
from adcaptum.service.wire.base64_text import from_base64
from adcaptum.v1.tensor_pb2 import Tensor

MOST_ELEMENTS: Final = 1 << 16
"""The most objects, lists and scalars of a request beside `values`: as many bytes as a message may
have beside its data."""

MOST_NUMBERS: Final = 1 << 24
"""The most numbers of a tensor that are made `data`."""

NONE: Final[Mapping[str, str]] = MappingProxyType({})
LIMITS: Final[Mapping[int, tuple[int, int]]] = {
    Field.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    Field.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    Field.TYPE_UINT32: (0, (1 << 32) - 1),
    Field.TYPE_UINT64: (0, (1 << 64) - 1),
}
WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read(
    into: Message,
    content: object,
    *,
    leave_out: Mapping[str, str] = NONE,
    datatypes: Mapping[str, str] = NONE,
) -> None:
    """Reads a message.

    Args:
        into: An empty message.
        content: The JSON.
        leave_out: Fields of the outermost message that the JSON may not have, and the reason.
        datatypes: The datatypes of inputs whose tensors give none, by name; that of the only input
            under the name "", too.

    Raises:
        InvalidRequest: It is no such message.
    """
    reader = _Reader(datatypes)
    for name, reason in leave_out.items():
        if isinstance(content, dict) and name in content:
            raise InvalidRequest(name, reason)
    reader.message(into, content, "")


class _Reader:
    """The reading of one message."""

    def __init__(self, datatypes: Mapping[str, str]) -> None:
        self._left = MOST_ELEMENTS
        self._datatypes = datatypes

    def message(self, into: Message, content: object, path: str) -> None:
        """Reads a message or a part of it."""
        self._count()
        kind = into.DESCRIPTOR.full_name
        special = SPECIAL.get(kind)
        if special is not None:
            special(self, into, content, path)
            return
        if kind.startswith("google.protobuf."):
            _parse(into, content, path)
            return
        self.fields(into, content, path)

    def fields(self, into: Message, content: object, path: str) -> None:
        """Reads the fields of a message."""
        if not isinstance(content, dict):
            raise InvalidRequest(path or "request", f"{shown(content)}; must be an object")
        into.SetInParent()
        fields = _fields(into.DESCRIPTOR)
        seen: set[str] = set()
        for name, value in content.items():
            field = fields.get(name)
            if field is None:
                raise _unknown(name, path, into.DESCRIPTOR)
            place = f"{path}.{field.name}" if path else field.name
            if field.name in seen:
                raise InvalidRequest(place, "stands twice")
            seen.add(field.name)
            if value is None:
                continue
            choice = field.containing_oneof
            # An `optional` field is a choice of its own.
            if choice is not None and len(choice.fields) > 1:
                taken = into.WhichOneof(choice.name)
                if taken is not None:
                    raise InvalidRequest(place, f"beside {taken}; only one of them may be set")
            self._field(into, field, value, place)

    def _field(self, into: Any, field: Field, content: object, place: str) -> None:
        if not field.is_repeated:
            if field.message_type is not None:
                self.message(getattr(into, field.name), content, place)
            else:
                self._count()
                setattr(into, field.name, _scalar(field, content, place))
            return
        members = getattr(into, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._map(members, field.message_type, content, place)
            return
        if not isinstance(content, list):
            raise InvalidRequest(place, f"{shown(content)}; must be a list")
        for index, each in enumerate(content):
            inner = f"{place}[{index}]"
            if field.message_type is not None:
                self.message(members.add(), each, inner)
            else:
                self._count()
                members.append(_scalar(field, each, inner))

    def _map(self, members: Any, entry: Descriptor, content: object, place: str) -> None:
        if not isinstance(content, dict):
            raise InvalidRequest(place, f"{shown(content)}; must be an object")
        value = entry.fields_by_name["value"]
        for key, each in content.items():
            check_text(key, place)
            inner = f"{place}.{key}" if len(key) <= 80 else f"{place}.{key[:80]}..."
            if value.message_type is not None:
                self.message(members[key], each, inner)
            else:
                self._count()
                members[key] = _scalar(value, each, inner)

    def tensor(self, into: Any, content: object, path: str) -> None:
        """Reads a tensor: numbers of a known datatype that are too many for `values` are `data`."""
        if not isinstance(content, dict) or not isinstance(content.get("values"), list):
            self.fields(into, content, path)
            return
        rest = {name: each for name, each in content.items() if name != "values"}
        self.fields(into, rest, path)
        datatype = into.datatype or self._datatypes.get(into.name, "")
        place = f"{path}.values"
        if into.WhichOneof("contents") is not None:
            raise InvalidRequest(place, "beside data; only one of them may be set")
        if datatype in lists.DTYPES:
            try:
                numbers = lists.numbers_of(content["values"], MOST_NUMBERS)
            except lists.TooManyError as error:
                raise InvalidRequest(place, f"more than {MOST_NUMBERS:,} numbers") from error
            if numbers is not None and numbers.size > typed_values.MOST_NUMBERS:
                shape = tuple(into.shape) or numbers.shape
                if math.prod(shape) != numbers.size:
                    text = f"{list(shape)}; the values are of shape {list(numbers.shape)}"
                    raise InvalidRequest(f"{path}.shape", text)
                del into.shape[:]
                into.shape.extend(shape)
                into.datatype = datatype
                into.data = lists.as_data(numbers, datatype, place)
                return
        lists.write(into.values, content["values"], place)

    def values(self, into: Any, content: object, path: str) -> None:
        """Reads the elements of a tensor."""
        lists.write(into, content, path)

    def value(self, into: Any, content: object, path: str) -> None:
        """Reads any JSON, such as the value of a parameter."""
        match content:
            case None:
                into.null_value = 0
            case bool():
                into.bool_value = content
            case int() | float():
                into.number_value = _double(content, path)
            case str():
                check_text(content, path)
                into.string_value = content
            case list():
                into.list_value.SetInParent()
                for index, each in enumerate(content):
                    self._count()
                    self.value(into.list_value.values.add(), each, f"{path}[{index}]")
            case dict():
                into.struct_value.SetInParent()
                for key, each in content.items():
                    self._count()
                    check_text(key, path)
                    self.value(into.struct_value.fields[key], each, f"{path}.{key[:80]}")

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise InvalidRequest(
                "request",
                f"more than {MOST_ELEMENTS:,} elements beside the values of tensors",
                reason=Reason.REQUEST_TOO_LARGE,
            )


SPECIAL: Final[Mapping[str, Callable[[_Reader, Any, object, str], None]]] = {
    Tensor.DESCRIPTOR.full_name: _Reader.tensor,
    ListValue.DESCRIPTOR.full_name: _Reader.values,
    Value.DESCRIPTOR.full_name: _Reader.value,
}


@lru_cache(maxsize=256)  # the messages of the protocol that exist
def _fields(kind: Any) -> Mapping[str, Field]:
    """Returns the fields of a message by both of their names."""
    return {name: each for each in kind.fields for name in (each.camelcase_name, each.name)}


def _unknown(name: str, path: str, kind: Any) -> InvalidRequest:
    known = [each.name for each in kind.fields]
    place = f"{path}.{name[:80]}" if path else name[:80]
    return InvalidRequest(
        place.encode(errors="replace").decode(),
        f"there is no such field. {did_you_mean(name[:200], known)}",
        reason=Reason.FIELD_UNKNOWN,
    )


def _scalar(field: Any, content: object, place: str) -> Any:
    """Returns the value of a field that is no message."""
    read = SCALARS.get(field.type)
    return _whole(field, content, place) if read is None else read(field, content, place)


def _flag(_: Any, content: object, place: str) -> bool:
    if not isinstance(content, bool):
        raise InvalidRequest(place, f"{shown(content)}; must be true or false")
    return content


def _string(_: Any, content: object, place: str) -> str:
    if not isinstance(content, str):
        raise InvalidRequest(place, f"{shown(content)}; must be a text")
    check_text(content, place)
    return content


def _whole(field: Any, content: object, place: str) -> int:
    """Returns a whole number, which may also be written as a text or as 5.0."""
    found: object = content
    if isinstance(content, str) and WHOLE.fullmatch(content):
        found = int(content)
    if isinstance(content, float) and content.is_integer():
        found = int(content)
    if not isinstance(found, int) or isinstance(found, bool):
        raise InvalidRequest(place, f"{shown(content)}; must be a whole number")
    least, most = LIMITS[field.type]
    if not least <= found <= most:
        raise InvalidRequest(place, f"{shown(content)}; must be from {least} to {most}")
    return found


def _float(_: Any, content: object, place: str) -> float:
    word = WORDS.get(content) if isinstance(content, str) else None
    return _double(content, place) if word is None else word


def _double(content: object, place: str) -> float:
    if isinstance(content, int | float) and not isinstance(content, bool):
        try:
            return float(content)
        except OverflowError:
            pass
    raise InvalidRequest(place, f"{shown(content)}; must be a number of 64 bits")


def _bytes(_: Any, content: object, place: str) -> bytes:
    """Returns what base64 encodes; its padding may be left out, and - and _ stand for + and /."""
    found = None
    if isinstance(content, str):
        text = content
        # Each is a pass over the text, which most do not need.
        for url, usual in (("-", "+"), ("_", "/")):
            if url in text:
                text = text.replace(url, usual)
        found = from_base64(text + "=" * (-len(text) % 4) if "\n" not in text else text)
    if found is None:
        raise InvalidRequest(place, f"{shown(content)}; must be base64")
    return found


def _enum(field: Any, content: object, place: str) -> int:
    kind = field.enum_type
    if isinstance(content, str):
        named = kind.values_by_name.get(content)
        if named is not None:
            return int(named.number)
        hint = did_you_mean(content, list(kind.values_by_name))
        raise InvalidRequest(place, f"{shortened(content)} is unknown. {hint}")
    if type(content) is int and content in kind.values_by_number:
        return content
    allowed = ", ".join(kind.values_by_name)
    raise InvalidRequest(place, f"{shown(content)}; must be one of {allowed}")


SCALARS: Final[Mapping[int, Callable[[Any, object, str], Any]]] = {
    Field.TYPE_BOOL: _flag,
    Field.TYPE_STRING: _string,
    Field.TYPE_BYTES: _bytes,
    Field.TYPE_ENUM: _enum,
    Field.TYPE_DOUBLE: _float,
    Field.TYPE_FLOAT: _float,
}


def _parse(into: Message, content: object, path: str) -> None:
    """Reads a well-known type that has a form of its own, such as a time."""
    try:
        json_format.ParseDict(content, into)  # type: ignore[arg-type]
    except (json_format.ParseError, TypeError, ValueError) as error:
        name = into.DESCRIPTOR.name
        raise InvalidRequest(path, f"{shown(content)}; must be a {name}") from error
