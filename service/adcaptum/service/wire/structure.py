"""Bytes of a request beside the data of its tensors, counted before the request is decoded.

Data are copied, and a copy costs little for each byte. Everything else (names, lengths, numbers,
messages in messages) becomes objects: a megabyte of it takes a hundred megabytes and the time of
as many requests. So there may be little of it. Numbers that people type become objects, too, but
there may be 65,536 of them in a tensor: they are bounded by their count, and their bytes by that.

The same walk over the fields finds those that the server does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import shortened

MOST_STRUCTURE: Final = 1 << 16
"""The most bytes beside the data of tensors; decoding them takes 2 ms at most (ADR 60)."""

MOST_FIELDS: Final = 2048
"""The most fields that are looked through for data; a request with 64 tensors has 600."""

MOST_TYPED: Final = 1 << 17
"""The most elements of `values` in a request, by an upper bound that is at most 3 % too high for
numbers."""

TYPED_BYTES: Final = 12
"""The most bytes of an element of `values` that are not looked at; a number takes 11. Longer ones
are walked over like all structure, but that texts in them count as data."""

TYPED_HEAD: Final = 1 << 10
"""The bytes of `values` that are not looked at, however few elements there are."""

MOST_UNSEEN: Final = TYPED_BYTES * MOST_TYPED + TYPED_HEAD
"""The most bytes of `values` that are not looked at."""

ELEMENT_TAGS: Final = (b"\x0a", b"\x8a")
"""The bytes with which the tag of an element of a list begins: field 1, with a length. The second
is that of a tag that takes more bytes than it must."""

KEY: Final = 0x0A
"""The tag of the key of a map's entry."""

STREAMED: Final = "explain"
"""The field with the request of an `ExplainStreamRequest`."""

VALUES: Final = "google.protobuf.ListValue"

KINDS: Final = {
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_FIXED64: 1,
    FieldDescriptor.TYPE_SFIXED64: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_BYTES: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
    FieldDescriptor.TYPE_FLOAT: 5,
    FieldDescriptor.TYPE_FIXED32: 5,
    FieldDescriptor.TYPE_SFIXED32: 5,
}
"""The wire type of a type of fields; 0, varints, of all others."""


@dataclass(frozen=True, slots=True)
class Known:
    """A field that the server knows.

    Attributes:
        name: Its name.
        repeated: Whether it is a list.
        kinds: Its wire types; numbers of lists may come one by one or packed.
        data: Whether it is data: bytes that are copied.
        values: Whether it is `values`: elements that people type.
        entries: Whether it is a map: a list of keys and values.
        inner: The fields of its messages; None for other types.
    """

    name: str
    repeated: bool
    kinds: frozenset[int]
    data: bool = False
    values: bool = False
    entries: bool = False
    inner: Layout | None = None


Layout = Mapping[int, Known]
"""The fields of a message by number."""


def layout(descriptor: Descriptor) -> Layout:
    """Describes the fields of a message and of those inside it, which may be inside themselves."""
    return _layout(descriptor, {}, typed=False)


Layouts = dict[tuple[str, bool], dict[int, Known]]
"""The layouts that were begun: by the name of the message, and whether it is inside `values`."""


def _layout(descriptor: Descriptor, begun: Layouts, *, typed: bool) -> Layout:
    place = descriptor.full_name, typed
    if place not in begun:
        # Before its fields: a list of values may have lists.
        found = begun[place] = dict[int, Known]()
        found |= {each.number: _known(each, begun, typed=typed) for each in descriptor.fields}
    return begun[place]


def _known(field: FieldDescriptor, begun: Layouts, *, typed: bool) -> Known:
    inner, repeated = field.message_type, field.is_repeated
    kinds = frozenset({KINDS.get(field.type, 0)} | ({2} if repeated else set()))
    if inner is None:
        # Texts are data where they are elements of a tensor.
        text = typed and field.type == FieldDescriptor.TYPE_STRING
        data = text or field.type == FieldDescriptor.TYPE_BYTES
        return Known(field.name, repeated, kinds, data=data)
    values = inner.full_name == VALUES and not str(
        field.containing_type and field.containing_type.full_name
    ).startswith("google.")
    fields = _layout(inner, begun, typed=typed or values)
    entries = inner.GetOptions().map_entry
    return Known(field.name, repeated, kinds, values=values, entries=entries, inner=fields)


def check_structure(raw: bytes, fields: Layout) -> None:
    """Checks a serialised message that is large, before it is decoded.

    Args:
        raw: The message; a small one needs no check.
        fields: Its fields.

    Raises:
        InvalidRequest: It has too many bytes beside its data, too many elements of `values`, or a
            field that the server does not know, or is not a message.
    """
    if len(raw) <= MOST_STRUCTURE:
        return
    scan = _scanned(raw, fields)
    if len(raw) - scan.data > MOST_STRUCTURE:
        raise InvalidRequest(
            "request",
            f"{len(raw) - scan.data} bytes beside the data of tensors; at most {MOST_STRUCTURE} "
            "are allowed",
            reason=Reason.REQUEST_TOO_LARGE,
        )
    if scan.typed > MOST_TYPED:
        raise InvalidRequest(
            "request",
            f"about {scan.typed} elements in `values`; at most {MOST_TYPED} are allowed, and more "
            "as `data`",
            reason=Reason.REQUEST_TOO_LARGE,
        )


def unknown_field(raw: bytes, fields: Layout) -> InvalidRequest:
    """Returns the error of a message with a field that the server does not know.

    Args:
        raw: The message, which can be decoded.
        fields: Its fields.
    """
    try:
        _scanned(raw, fields, everything=True)
    except InvalidRequest as error:
        if error.reason is Reason.FIELD_UNKNOWN:
            return error
    # It is behind the fields that are looked through.
    return InvalidRequest("", "a field is not known to this server", reason=Reason.FIELD_UNKNOWN)


def undecodable() -> InvalidRequest:
    """Returns the error for bytes that are not a message of the expected type."""
    return InvalidRequest(
        "request",
        "its bytes are not a message of this method's type",
        reason=Reason.REQUEST_UNREADABLE,
    )


def _scanned(raw: bytes, fields: Layout, *, everything: bool = False) -> _Scan:
    scan = _Scan(raw, everything=everything)
    try:
        scan.enter(0, len(raw), fields, "")
    except InvalidRequest:
        raise
    except (IndexError, ValueError) as error:
        raise undecodable() from error
    return scan


class _Scan:
    """A walk over the fields of a serialised message without decoding them.

    `values` with as many bytes as numbers take are not walked over, unless `everything` is: their
    reader finds what is wrong in them.

    Attributes:
        data: The bytes that are data or `values`.
        typed: The elements of `values`, or more.
    """

    __slots__ = ("_everything", "_left", "_raw", "data", "typed")

    def __init__(self, raw: bytes, *, everything: bool) -> None:
        self._raw = raw
        self._everything = everything
        self._left = MOST_FIELDS
        self.data = 0
        self.typed = 0

    def enter(self, start: int, stop: int, fields: Layout, path: str) -> None:
        """Walks over the fields of the message at start..stop.

        Raises:
            ValueError: These bytes are not fields.
            IndexError: A number ends behind the message's end.
            InvalidRequest: There are too many fields, or the server does not know one.
        """
        at, places = start, dict[int, int]()
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise InvalidRequest(
                    "request", f"of more than {MOST_FIELDS} fields", reason=Reason.REQUEST_TOO_LARGE
                )
            tag, at = self._varint(at)
            number, kind = tag >> 3, tag & 7
            known = fields.get(number)
            begin = at
            if kind == 0:
                _, at = self._varint(at)
            elif kind == 1:
                at += 8
            elif kind == 5:  # 32 bits
                at += 4
            elif kind == 2:  # a length and as many bytes
                length, begin = self._varint(at)
                at = begin + length
            else:
                raise ValueError(kind)
            if at > stop or not number:
                raise ValueError(at)
            if known is None or kind not in known.kinds:
                # The question of a stream has the paths that it has alone.
                raise InvalidRequest(
                    path.removeprefix(STREAMED).removeprefix("."),
                    f"field {number} is not known to this server",
                    reason=Reason.FIELD_UNKNOWN,
                )
            if kind == 2:
                self._content(begin, at, known, path, places)

    def _content(
        self, begin: int, end: int, known: Known, path: str, places: dict[int, int]
    ) -> None:
        if known.data:
            self.data += end - begin
            return
        size = end - begin
        if known.values and size <= MOST_UNSEEN and not self._everything:
            typed = sum([self._raw.count(tag, begin, end) for tag in ELEMENT_TAGS])
            if size <= TYPED_BYTES * typed + TYPED_HEAD:
                self.data += size
                self.typed += typed
                return
        if known.inner is None or (known.entries and size > MOST_STRUCTURE):
            return  # the size of what is not data decides
        inside = f"{path}.{known.name}" if path else known.name
        if known.entries:
            inside = f"{inside}.{self._key(begin, end)}"
        elif known.repeated:
            place = places[id(known)] = places.get(id(known), -1) + 1
            inside = f"{inside}[{place}]"
        self.enter(begin, end, known.inner, inside)

    def _key(self, begin: int, end: int) -> str:
        """Returns the key of a map's entry for a path, if it comes first as it mostly does."""
        if begin == end or self._raw[begin] != KEY:
            return ""
        length, start = self._varint(begin + 1)
        return shortened(self._raw[start : min(start + length, end)].decode(errors="replace"))[1:-1]

    def _varint(self, at: int) -> tuple[int, int]:
        value = self._raw[at]
        if value < 128:  # most numbers take one byte
            return value, at + 1
        value &= 127
        for shift in range(7, 70, 7):
            at += 1
            byte = self._raw[at]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at + 1
        raise ValueError(at)
