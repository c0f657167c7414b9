"""Back-off: the pauses before processes are started again, longer while none serves for long."""

from typing import Final

PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""The seconds before the next start, by the processes in a row that served too short."""


class BackOff:
    """The pauses of one slot.

    A process that has served for at least as long as it took to start was well: whatever ended it
    is no loop, and the next one starts at once. So a slot whose processes end again and again
    spends at most half of its time on starts, and a loop soon waits for most of it.
    """

    def __init__(self) -> None:
        self._short = 0

    def count(self, born: float, served_from: float | None, ended: float) -> None:
        """Counts a process that has ended, or is replaced.

        Args:
            born: When it was started, on any clock.
            served_from: When it first served; None: it never has.
            ended: When it ended.
        """
        well = served_from is not None and ended - served_from >= served_from - born
        self._short = 1 if well else self._short + 1

    @property
    def pause(self) -> float:
        """The seconds before the next start."""
        return PAUSES[min(max(self._short, 1), len(PAUSES)) - 1]
