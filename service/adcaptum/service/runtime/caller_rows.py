"""Limits of single callers on the rows that they have under way, as their credentials say."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from adcaptum.engine.scheduling.limits import Limits

MOST_CALLERS: Final = 10_000
"""The most callers that are remembered; each request tells its caller's limit again."""


class CallerRows:
    """The limits by caller. For the event loop only."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, int] = OrderedDict()

    def note(self, caller: Hashable, rows: int) -> None:
        """Notes the most rows that a caller may have under way."""
        self._rows[caller] = rows
        self._rows.move_to_end(caller)
        if len(self._rows) > MOST_CALLERS:
            self._rows.popitem(last=False)

    def limits(self, caller: Hashable, usual: Limits) -> Limits:
        """Returns the limits of a caller: its own where that is less than the usual ones."""
        own = self._rows.get(caller)
        if own is None:
            return usual
        return usual._replace(rows=own if usual.rows is None else min(own, usual.rows))
