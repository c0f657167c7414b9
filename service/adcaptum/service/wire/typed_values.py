"""Values that people type: nested lists of numbers, booleans or texts.

A `ListValue` of 65,536 numbers is as many objects in Python. Lists that are regular, with numbers
only, are therefore read from their serialised bytes, in a few operations of NumPy; all others are
walked, which also finds the place of an error.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from google.protobuf.struct_pb2 import ListValue
from numpy.typing import NDArray

from adcaptum.service.errors import InvalidRequest, Reason

MOST_NUMBERS: Final = 1 << 16
"""The most numbers, booleans or texts of a tensor."""

FEWEST_BYTES: Final = 1 << 9
"""The shortest serialised list that NumPy reads faster than Python walks it."""

MOST_NESTED: Final = 32
"""The most lists inside one another."""

ELEMENT: Final = 0x0A
"""The tag of an element of a list, `ListValue.values`."""

NUMBER: Final = 0x11
"""The tag of a number, `Value.number_value`."""

LIST: Final = 0x32
"""The tag of a list, `Value.list_value`."""

NUMBER_BYTES: Final = 9
"""The bytes of a number with its tag."""

ELEMENTS: Final = {
    "number_value": "number",
    "bool_value": "boolean",
    "string_value": "text",
    "list_value": "list",
    "null_value": "null",
    "struct_value": "object",
    None: "nothing",
}


@dataclass(frozen=True, slots=True, eq=False)
class TypedValues:
    """The elements of nested lists, in row-major order; one of the three is not empty.

    Attributes:
        shape: The lengths of the lists, outermost first.
        numbers: The numbers, which may be NaN or infinite.
        flags: The booleans.
        texts: The texts.
    """

    shape: tuple[int, ...]
    numbers: NDArray[np.float64]
    flags: tuple[bool, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of elements."""
        return len(self.numbers) or len(self.flags) or len(self.texts)


NO_NUMBERS: Final = np.empty(0)


def read(values: ListValue, field: str) -> TypedValues:
    """Reads nested lists.

    Args:
        values: The outermost list.
        field: Its path in the request.

    Raises:
        InvalidRequest: A list is empty or of another length than its neighbours, elements are of
            different kinds or of one that tensors do not have, or there are too many.
    """
    content = values.SerializeToString()
    if len(content) >= FEWEST_BYTES:
        try:
            shape, numbers = _regular(np.frombuffer(content, np.uint8).reshape(1, -1), MOST_NESTED)
        except _IrregularError:
            pass
        else:
            if len(numbers) > MOST_NUMBERS:
                raise _too_many(field)
            return TypedValues(shape, numbers)
    _check_fields(content, field)
    walk = _Walk()
    try:
        shape = walk.enter(values, field, 1)
    except _TooManyError:
        raise _too_many(field) from None
    return TypedValues(
        shape,
        np.array(walk.elements, np.float64) if walk.kind == "number_value" else NO_NUMBERS,
        tuple(map(bool, walk.elements)) if walk.kind == "bool_value" else (),
        tuple(map(str, walk.elements)) if walk.kind == "string_value" else (),
    )


def _check_fields(content: bytes, field: str) -> None:
    """Raises `InvalidRequest` if serialised lists have a field that the server does not know."""
    known = ListValue.FromString(content)
    known.DiscardUnknownFields()
    if known.ByteSize() != len(content):
        raise InvalidRequest(
            field, "an element has a field that is not known", reason=Reason.FIELD_UNKNOWN
        )


class _TooManyError(ValueError):
    """There are more elements than a tensor may have."""


class _Walk:
    """A walk over nested lists.

    Attributes:
        kind: The kind of all elements; None before the first.
        elements: The elements so far.
    """

    __slots__ = ("elements", "kind")

    def __init__(self) -> None:
        self.kind: str | None = None
        self.elements: list[object] = []

    def enter(self, values: ListValue, field: str, depth: int) -> tuple[int, ...]:
        """Collects the elements of a list, and returns its shape."""
        if depth > MOST_NESTED:
            raise InvalidRequest(field, f"lists inside one another; at most {MOST_NESTED}")
        members = values.values
        if not members:
            raise InvalidRequest(field, "an empty list; must have at least 1 element")
        if members[0].WhichOneof("kind") != "list_value":
            self._collect(values, field)
            return (len(members),)
        first: tuple[int, ...] | None = None
        for index, member in enumerate(members):
            place = f"{field}[{index}]"
            if (kind := member.WhichOneof("kind")) != "list_value":
                raise InvalidRequest(place, f"{ELEMENTS[kind]} beside lists")
            shape = self.enter(member.list_value, place, depth + 1)
            first = shape if first is None else first
            if shape != first:
                what = "length" if len(shape) == len(first) == 1 else "shape"
                raise InvalidRequest(
                    place, f"of {what} {_lengths(shape)}; the first is of {what} {_lengths(first)}"
                )
        return (len(members), *(first or ()))

    def _collect(self, values: ListValue, field: str) -> None:
        members = values.values
        if len(self.elements) + len(members) > MOST_NUMBERS:
            raise _TooManyError
        kinds = [member.WhichOneof("kind") for member in members]
        self.kind = self.kind or kinds[0]
        for index, kind in enumerate(kinds):
            if kind not in ("number_value", "bool_value", "string_value"):
                raise InvalidRequest(
                    f"{field}[{index}]", f"{ELEMENTS[kind]}; must be a number, a boolean or a text"
                )
            if kind != self.kind:
                raise InvalidRequest(
                    f"{field}[{index}]",
                    f"a {ELEMENTS[kind]}; the first element is a {ELEMENTS[self.kind]}",
                )
        self.elements += [getattr(member, kinds[0] or "") for member in members]


def _lengths(shape: tuple[int, ...]) -> str:
    return str(shape[0] if len(shape) == 1 else list(shape))


def _too_many(field: str) -> InvalidRequest:
    return InvalidRequest(
        field, f"more than {MOST_NUMBERS:,} elements; send as many as these as `data`"
    )


class _IrregularError(ValueError):
    """Lists are not all of the same form, or not of numbers."""


def _regular(lists: NDArray[np.uint8], depth: int) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Reads lists of numbers of one form.

    Args:
        lists: The serialised lists, `(lists, bytes)`, each a `ListValue`.
        depth: The most lists inside one another.

    Returns:
        The shape of each list, and the numbers of all.

    Raises:
        _IrregularError: They are not of one form, or not of numbers.
    """
    head, length = _opened(lists, ELEMENT)
    size = head + length
    _require(depth > 0 and lists.shape[1] % size == 0)
    # The same head: the same length. Every element then begins where the one before it ends.
    elements = lists.reshape(-1, size)
    _require((elements[:, :head] == elements[0, :head]).all())
    count, values = lists.shape[1] // size, elements[:, head:]
    if length == NUMBER_BYTES and values[0, 0] == NUMBER:
        _require((values[:, 0] == NUMBER).all())
        return (count,), np.ascontiguousarray(values[:, 1:]).view("<f8").reshape(-1)
    head, inner = _opened(values, LIST)
    _require(head + inner == length and (values[:, :head] == values[0, :head]).all())
    shape, numbers = _regular(values[:, head:], depth - 1)
    return (count, *shape), numbers


def _opened(content: NDArray[np.uint8], tag: int) -> tuple[int, int]:
    """Returns the bytes of the first field's head, and of its content."""
    _require(content.size > 0 and content[0, 0] == tag)
    length = shift = 0
    for at, byte in enumerate(content[0, 1:6].tolist(), 1):
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at + 1, length
    raise _IrregularError


def _require(regular: bool | np.bool_) -> None:
    if not regular:
        raise _IrregularError
