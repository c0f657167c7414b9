"""What waits, and what it will take: in rows, seconds and bytes, per class and per caller.

Rules:
1. Every change costs the same however much waits, and so does every answer: a queue that is full
   costs one cheap refusal.
2. A request is counted from `Scheduler.announce` (or from its first row, where it was never
   announced) to its end.
3. Where nothing waits, everything is exactly zero: errors of rounding do not add up.
"""

from collections.abc import Hashable
from math import ceil
from typing import Final, NamedTuple


class Line(NamedTuple):
    """What batches of a key take: seconds = row * rows + batch.

    Attributes:
        row: Seconds that one more row takes.
        batch: Seconds that a batch takes beside its rows.
        rows: How many rows a batch has at most.
    """

    row: float
    batch: float
    rows: int

    def seconds(self, rows: int) -> float:
        """How long `rows` rows take by themselves, in as many batches as they need."""
        return self.row * rows + self.batch * ceil(rows / self.rows)


UNKNOWN: Final = Line(0.0, 0.0, 1)
"""The line of a key of which nothing was measured."""


class Account:
    """What a caller, or all of them together, has under way.

    Attributes:
        requests: How many.
        rows: Rows that were expected or added, and have not been evaluated.
        nbytes: What the requests hold in memory, in bytes.
    """

    __slots__ = ("nbytes", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.nbytes = 0


class Limits(NamedTuple):
    """How much may be under way, for a caller or for all of them together; None: any.

    Attributes:
        requests: How many.
        rows: Their rows.
        nbytes: The memory that they hold, in bytes.
    """

    requests: int | None = None
    rows: int | None = None
    nbytes: int | None = None

    def excess(self, held: Account, rows: int, nbytes: int) -> "Excess | None":
        """What of it a request of so many rows and bytes would exceed; None if there is room.

        Whoever has nothing under way may always have one request: one that is larger than all that
        is allowed would never get in, and its caller would try again for ever.
        """
        if not held.requests:
            return None
        if self.requests is not None and held.requests >= self.requests:
            return Excess("requests", held.requests, self.requests, 1)
        if self.rows is not None and held.rows + rows > self.rows:
            return Excess("rows", held.rows, self.rows, held.rows + rows - self.rows)
        if self.nbytes is not None and held.nbytes + nbytes > self.nbytes:
            return Excess("bytes", held.nbytes, self.nbytes, held.nbytes + nbytes - self.nbytes)
        return None


ANY: Final = Limits()
"""No limits."""


class Excess(NamedTuple):
    """Why there is no room.

    Attributes:
        unit: Of what there is too much: "requests", "rows" or "bytes".
        held: How much is under way.
        limit: How much may be.
        over: How much has to go before there is room.
    """

    unit: str
    held: int
    limit: int
    over: int


class _Lane:
    """The waiting rows of one key, and what they were last estimated to take."""

    __slots__ = ("line", "rows", "seconds")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.rows = 0
        self.seconds = 0.0


class Backlog:
    """What waits of one class.

    Attributes:
        requests: Requests under way.
        rows: Rows that were added and are in no batch.
        expected_rows: Rows that announced requests have not added yet.
    """

    __slots__ = ("_expected_seconds", "_lanes", "_seconds", "expected_rows", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.expected_rows = 0
        self._lanes: dict[Hashable, _Lane] = {}
        self._seconds = 0.0
        self._expected_seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long all of it takes, with the device for it alone."""
        return max(0.0, self._seconds + self._expected_seconds)

    def expect(self, rows: int, seconds: float) -> None:
        """Counts rows that are to come; negative ones have come, or will not."""
        self.expected_rows += rows
        self._expected_seconds = self._expected_seconds + seconds if self.expected_rows else 0.0

    def add(self, key: Hashable, rows: int, line: Line) -> None:
        """Counts rows that wait from now on."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(line)
        self._change(lane, rows)

    def remove(self, key: Hashable, rows: int) -> None:
        """Counts rows that do not wait any more."""
        lane = self._lanes[key]
        self._change(lane, -rows)
        if not lane.rows:
            del self._lanes[key]

    def price(self, key: Hashable, line: Line) -> None:
        """Takes in what was learnt of a key."""
        lane = self._lanes.get(key)
        if lane is not None and lane.line != line:
            lane.line = line
            self._change(lane, 0)

    def _change(self, lane: _Lane, rows: int) -> None:
        lane.rows += rows
        self.rows += rows
        before, lane.seconds = lane.seconds, lane.line.seconds(lane.rows)
        self._seconds = self._seconds + (lane.seconds - before) if self.rows else 0.0
