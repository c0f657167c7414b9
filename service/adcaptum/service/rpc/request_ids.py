"""Ids of requests that bring none: a random start, and a count from there.

A random number for each request would cost as much as reading a small one.
"""

import secrets
from itertools import count
from typing import Final

MOST: Final = (1 << 64) - 1


class RequestIds:
    """A source of ids of 16 hexadecimal digits, all of which differ."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = count(secrets.randbits(64))

    def next(self) -> str:
        """Returns the next id."""
        return f"{next(self._numbers) & MOST:016x}"
