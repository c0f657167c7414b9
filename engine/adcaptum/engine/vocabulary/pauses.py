"""Pauses between pieces of a method's own mathematics."""

from __future__ import annotations

from typing import Final

from adcaptum.engine.vocabulary.flow import Flow, pause

PIECE_MULTIPLY_ADDS: Final = 4e9
"""The multiply-adds between two pauses: 0.1 s to 0.4 s on a core."""


class Pauses:
    """A counter that pauses a flow after every `PIECE_MULTIPLY_ADDS` of its mathematics.

    Small problems never pause, and cost their driver nothing.
    """

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = 0.0

    def before(self, multiply_adds: float) -> Flow[None]:
        """Pauses before a piece of work, if enough has been done since the last pause."""
        if self._since + multiply_adds > PIECE_MULTIPLY_ADDS and self._since > 0:
            self._since = 0.0
            yield from pause()
        self._since += multiply_adds
