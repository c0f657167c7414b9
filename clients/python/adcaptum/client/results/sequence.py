"""Sequences that decode their elements when they are first read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

_Element = TypeVar("_Element")


class DecodedSequence(Sequence[_Element], Generic[_Element]):
    """A read-only sequence over messages; each element is decoded once, when it is first read.

    Decoding a reply costs more than receiving it, and many programs read a part of it only.
    """

    __slots__ = ("_decode", "_elements", "_messages")

    def __init__(self, messages: Sequence[Any], decode: Callable[[Any], _Element]) -> None:
        """Wrap the messages of a reply.

        Args:
            messages: One message per element.
            decode: Converts a message to an element.
        """
        self._messages = messages
        self._decode = decode
        self._elements: dict[int, _Element] = {}

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, index: int) -> _Element: ...

    @overload
    def __getitem__(self, index: slice) -> "tuple[_Element, ...]": ...

    def __getitem__(self, index: int | slice) -> "_Element | tuple[_Element, ...]":
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        element = self._elements.get(place)
        if element is None:
            element = self._elements[place] = self._decode(self._messages[index])
        return element

    def __iter__(self) -> Iterator[_Element]:
        return map(self.__getitem__, range(len(self._messages)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[tuple[_Element, ...]]]:
        return tuple, (tuple(self),)

    def __repr__(self) -> str:
        return repr(tuple(self))
