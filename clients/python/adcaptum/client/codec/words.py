"""Enums of the protocol as words."""

from enum import StrEnum
from typing import Any, TypeVar

_Word = TypeVar("_Word", bound=StrEnum)


def words_of(enum: Any, prefix: str, words: type[_Word]) -> dict[int, _Word]:
    """Return the word of each number of a protocol's enum.

    Numbers that are not in the result, such as those of a later release, stand for
    ``words.UNKNOWN``.

    Args:
        enum: The protocol's enum.
        prefix: The prefix of its names, such as ``STOP_REASON_``.
        words: The enum of words, which has an UNKNOWN.
    """
    known = words.__members__
    return {
        number: known[name.removeprefix(prefix)]
        for name, number in enum.items()
        if name.removeprefix(prefix) in known
    }
