"""The waiting rows of one class, and the time that they will take.

Rules:
1. Every change costs the same however much waits, and so does every answer: a queue that is full
   costs one cheap refusal.
2. A request is counted from `Scheduler.announce` (or from its first row, where it was never
   announced) to its end.
3. Where nothing waits, everything is exactly zero: errors of rounding do not add up.
"""

from collections.abc import Hashable

from adcaptum.engine.scheduling.cost_line import CostLine


class _KeyBacklog:
    """The waiting rows of one key, and their estimated time."""

    __slots__ = ("line", "rows", "seconds")

    def __init__(self, line: CostLine) -> None:
        self.line = line
        self.rows = 0
        self.seconds = 0.0


class Backlog:
    """The waiting rows of one class.

    Attributes:
        requests: Requests in flight.
        rows: Rows that were added and are in no batch.
        expected_rows: Rows that announced requests have not added yet.
    """

    __slots__ = ("_expected_seconds", "_keys", "_seconds", "expected_rows", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.expected_rows = 0
        self._keys: dict[Hashable, _KeyBacklog] = {}
        self._seconds = 0.0
        self._expected_seconds = 0.0

    @property
    def seconds(self) -> float:
        """The time of all of it, with the device for it alone."""
        return max(0.0, self._seconds + self._expected_seconds)

    def expect(self, rows: int, seconds: float) -> None:
        """Counts rows that are to come; negative ones have come, or will not."""
        self.expected_rows += rows
        self._expected_seconds = self._expected_seconds + seconds if self.expected_rows else 0.0

    def add(self, key: Hashable, rows: int, line: CostLine) -> None:
        """Counts rows that wait from now on."""
        of_key = self._keys.get(key)
        if of_key is None:
            of_key = self._keys[key] = _KeyBacklog(line)
        self._change(of_key, rows)

    def remove(self, key: Hashable, rows: int) -> None:
        """Counts rows that do not wait any more."""
        of_key = self._keys[key]
        self._change(of_key, -rows)
        if not of_key.rows:
            del self._keys[key]

    def price(self, key: Hashable, line: CostLine) -> None:
        """Estimates the time of a key's rows anew."""
        of_key = self._keys.get(key)
        if of_key is not None and of_key.line != line:
            of_key.line = line
            self._change(of_key, 0)

    def _change(self, of_key: _KeyBacklog, rows: int) -> None:
        of_key.rows += rows
        self.rows += rows
        before, of_key.seconds = of_key.seconds, of_key.line.seconds(of_key.rows)
        self._seconds = self._seconds + (of_key.seconds - before) if self.rows else 0.0
