"""The time of one key's batches as a curve over their rows, and the recommended batch size.

Rules:
1. Only powers of two are chosen, so that each size is measured repeatedly.
2. A batch may take `target_seconds`, or `ROW_TIMES` times as long as one row if that is more: where
   a batch costs much beside its rows, one row at a time would be slower by orders of magnitude, and
   any request that waits for the device waits for one row in any case. If not even one row fits,
   and its time is unknown, time counts as proportional to rows.
3. Among the sizes that fit, the smallest with 95 % of the best rows per second wins: a larger batch
   would only wait longer and hold more memory.
4. The next size up is tried if it was never measured, and both neighbours while their measurements
   are too few to rule them out, and now and then afterwards (less and less often), because machines
   change. So is one row, where its time may be the limit. Nothing larger than twice the chosen size
   is ever tried, and that only if the last doubling paid: rates that have levelled off only cost
   memory further up.
5. The first batch of a size may be slow for reasons of its own (kernels are chosen, memory is
   mapped), so that a size is judged by its second batch at the earliest.
6. A size is chosen only if it is expected to fit into `memory_bytes`, where a batch's memory is
   measured: larger batches take at most as much a row as the largest that was measured.
7. After an out-of-memory error a key gets fewer rows than those that failed, for a while: see
   `memory_limit`.

The time of a size that was not measured is that of the straight line through its neighbours
(seconds = slope * rows + overhead), kept between no growth and proportional growth.

Promises, held by simulations over families of curves (fixed costs, knees, steps, powers of the rows
of at least 1, noise, drift): at least 80 % of the best rate of all sizes that take at most the
target or twice the time of one row; and 95 % of the batches within the target or three times the
time of one row, with a tenth for trials at that boundary and twice the noise. The gap between two
and three allows for noise in measured times. A size that is below the boundary by less than the
noise may be left out at times (docs/decisions/0040).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log2
from typing import Final

from adcaptum.engine.scheduling.cost_line import UNKNOWN, CostLine
from adcaptum.engine.scheduling.memory_limit import MemoryLimit

ROW_TIMES: Final = 3.0
"""The time of a batch at most, in times of one row, where the target is shorter."""

ENOUGH: Final = 0.95  # of the best rows per second
WORTH: Final = 1.08  # what a doubling must bring for the next one to be tried
NOISE: Final = 0.3  # how far a single measured rate may be below the true one
FORGETTING: Final = 0.1  # weight of the newest measurement, once there are ten
STALE: Final = 50  # batches after which a better measurement replaces what was known of a size
SPIKE: Final = 2.0  # a batch that took longer than this many times the usual counts as this
PATIENCE: Final = 10  # a size that did not pay rests for 2 * PATIENCE**2 batches at most
TRUST: Final = 3.0  # a prior that is off by more than this factor is dropped
SETTLED: Final = 16  # batches from which on a curve's line is fitted only now and then:
REFIT: Final = 8  # every so many batches
ALIKE: Final = 2  # rows whose sizes differ by less than this factor are taken to cost alike

Group = tuple[Hashable, int]
"""A kind of rows, and the size of each."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point of a curve: batches of about `rows` rows take `seconds`.

    `samples` is the number of batches measured; 0 means that the point is a prior.
    """

    rows: float
    seconds: float
    samples: int

    @property
    def rows_per_second(self) -> float:
        """The throughput at this size."""
        return self.rows / self.seconds


class _Cell:
    """The running estimate for the batches nearest to one power of two."""

    __slots__ = ("last_seen", "rows", "samples", "seconds")

    def __init__(self, rows: float, seconds: float, samples: int, last_seen: int) -> None:
        self.rows = rows
        self.seconds = seconds
        self.samples = samples
        self.last_seen = last_seen

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def hopeful_rate(self) -> float:
        """The rate that this size may turn out to have, seen how little was measured."""
        return inf if self.samples == 1 else self.rate * (1 + NOISE / self.samples**0.5)

    @property
    def hopeful_seconds(self) -> float:
        """The seconds that this size may turn out to take."""
        return self.seconds / (1 + NOISE / self.samples**0.5)

    def seconds_at(self, rows: int) -> float:
        """Expected seconds of exactly `rows`, which is near to what was measured."""
        return self.seconds * max(1.0, rows / self.rows)

    def observe(self, rows: int, seconds: float, batch: int) -> None:
        """Adds a measurement of this cell, the `batch`-th of its curve."""
        stale = batch - self.last_seen > STALE
        usual = self.seconds * rows / self.rows
        # Batches are late for many reasons, but never early: what was known so far was too slow.
        early = SPIKE * seconds < usual
        if self.samples == 0 or early or (seconds < usual and (stale or self.samples == 1)):
            self.rows, self.seconds = rows, seconds
        elif self.samples > 1:
            weight = max(1 / self.samples, 0.5 if stale else FORGETTING)
            self.rows += weight * (rows - self.rows)
            self.seconds += weight * (min(seconds, SPIKE * usual) - self.seconds)
        self.samples += 1
        self.last_seen = batch


class BatchCurve:
    """The seconds of one key's batches over their rows; cell e holds those of about 2**e rows.

    `cells` is sorted, and replaced when it changes: threads may read it without a lock.

    Attributes:
        group: The kind and the size of the rows of keys that start from this curve.
        limit: The most rows, by configuration and since memory ran out.
        measured: The rows of a large batch and the bytes that it took; None: not measured.
        choice: The recommended number of rows.
    """

    __slots__ = (
        "_line", "batches", "cells", "choice", "group", "limit", "measured", "memory", "row_times",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        *,
        group: Group,
        limit: int,
        target: float,
        row_times: float,
        memory: float,
        prior: "BatchCurve | None",
    ) -> None:
        self.group = group
        self.limit = MemoryLimit(limit)
        self.target = target
        self.row_times = row_times
        self.memory = memory
        self.measured: tuple[int, int] | None = None
        self.batches = 0
        self.choice = 1
        self.cells: dict[int, _Cell] = {}
        self._line: CostLine | None = None
        if prior is not None:
            self.cells = {e: _Cell(c.rows, c.seconds, 0, 0) for e, c in prior.cells.items()}
            self.measured = prior.measured
            self.choose()

    @property
    def line(self) -> CostLine:
        """The straight line through the sizes in use, up to the chosen one."""
        if self._line is None:
            largest = self.choice.bit_length() - 1
            cells = [cell for e, cell in self.cells.items() if e <= largest]
            self._line = _fit(cells or list(self.cells.values())[:1], self.choice)
        return self._line

    @property
    def points(self) -> "tuple[Point, ...]":
        """The measured points, by growing number of rows."""
        return tuple(Point(c.rows, c.seconds, c.samples) for c in self.cells.values())

    @property
    def longest(self) -> float:
        """The most seconds that a batch may take (rule 2)."""
        row = self.cells.get(0)
        return self.target if row is None else max(self.target, self.row_times * row.seconds)

    def seed(self, seconds_by_rows: Mapping[int, float], measured: tuple[int, int] | None) -> None:
        """Sets a prior: seconds by number of rows, and the rows and bytes of a batch."""
        self.measured = measured
        for rows, seconds in sorted(seconds_by_rows.items()):
            self.cells[nearest_exponent(rows)] = _Cell(rows, max(seconds, 1e-9), 0, 0)
        self.choose()

    def observe(self, rows: int, seconds: float, nbytes: int | None) -> None:
        """Adds a measurement, and chooses again."""
        self.batches += 1
        # To fit a line takes some microseconds, and one batch changes little of a known curve.
        if self.batches < SETTLED or self.batches % REFIT == 0:
            self._line = None
        if nbytes is not None and (self.measured is None or rows >= self.measured[0]):
            self.measured = (rows, nbytes)
        exponent = nearest_exponent(rows)
        cell = self.cells.get(exponent)
        if cell is None:
            cell = _Cell(rows, seconds, 1, self.batches)
            self.cells = dict(sorted([*self.cells.items(), (exponent, cell)]))
        else:
            if cell.samples == 0:
                self._correct_prior(cell, (seconds / rows) * cell.rate)
            cell.observe(rows, seconds, self.batches)
        self.choose()

    def _correct_prior(self, measured: _Cell, ratio: float) -> None:
        """Scales the points that are still a prior by how wrong this one was, or drops them."""
        priors = [cell for cell in self.cells.values() if cell.samples == 0]
        for cell in priors:
            cell.seconds *= ratio
        if not 1 / TRUST < ratio < TRUST:
            kept = {e: c for e, c in self.cells.items() if c is measured or c.samples}
            self.cells = kept

    def choose(self) -> None:
        """Sets `choice` by the rules of this module."""
        cells = self.cells
        if not cells:
            return
        largest = min(self.limit.rows, self._fitting()).bit_length() - 1
        longest = self.longest
        fitting = [
            (exponent, cell.rate)
            for exponent, cell in cells.items()
            if exponent <= largest and cell.seconds_at(1 << exponent) <= longest
        ]
        if fitting:
            best = max(rate for _, rate in fitting)
            chosen = next(exponent for exponent, rate in fitting if rate >= ENOUGH * best)
            exponent = self._trial(cells, chosen, best, largest)
        else:
            exponent = _largest_proportional(cells, largest, longest)
        self.choice = 1 << exponent

    def _fitting(self) -> int:
        """The rows that are expected to fit into memory (rule 6)."""
        if self.measured is None or self.memory == inf:
            return self.limit.rows
        rows, nbytes = self.measured
        return max(1, int(self.memory * rows / max(nbytes, 1)))

    def _trial(self, cells: Mapping[int, _Cell], chosen: int, best: float, largest: int) -> int:
        """Returns the exponent to use next: the chosen one, or one that has to be measured."""
        usual, longest = cells[chosen], self.longest
        larger = cells.get(chosen + 1)
        smaller = cells.get(chosen - 1)
        known = smaller is not None and min(smaller.samples, usual.samples) > 1
        pays = smaller is None or not known or usual.rate >= WORTH * smaller.rate
        wanted = chosen < largest and pays
        fits = wanted and _extrapolate(cells, chosen + 1) <= longest
        row = cells.get(0)
        matters = (wanted and not fits) or usual.seconds > self.target
        if matters and row is not None and chosen and self._due(row):
            return 0
        if fits and (larger is None or larger.samples == 1):
            return chosen + 1
        for exponent, bar in ((chosen - 1, ENOUGH * best), (chosen + 1, best / ENOUGH)):
            cell = cells.get(exponent)
            if cell is None or (exponent > chosen and not fits):
                continue
            if self._due(cell):
                return exponent
            unsure = 0 < cell.samples < usual.samples and cell.hopeful_seconds <= longest
            if unsure and cell.hopeful_rate >= bar:
                return exponent
        return chosen

    def _due(self, cell: _Cell) -> bool:
        """Returns whether to measure a size again that is not in use."""
        return self.batches - cell.last_seen >= 2 * min(max(cell.samples, 2), PATIENCE) ** 2


def _fit(cells: Sequence[_Cell], rows: int) -> CostLine:
    """Returns the line of least squares of relative errors, with neither part negative."""
    if not cells:
        return UNKNOWN
    # The unknowns of r / s * row + 1 / s * batch = 1.
    pairs = [(cell.rows / cell.seconds, 1 / cell.seconds) for cell in cells]
    xx = sum([x * x for x, _ in pairs])
    xy = sum([x * y for x, y in pairs])
    yy = sum([y * y for _, y in pairs])
    x1 = sum([x for x, _ in pairs])
    y1 = sum([y for _, y in pairs])
    determinant = xx * yy - xy * xy
    if determinant > 1e-9 * xx * yy:
        row = (x1 * yy - y1 * xy) / determinant
        batch = (y1 * xx - x1 * xy) / determinant
        if row >= 0 and batch >= 0:
            return CostLine(row, batch, rows)
        if row < 0:
            return CostLine(0.0, y1 / yy, rows)
    return CostLine(x1 / xx, 0.0, rows)


def _extrapolate(cells: Mapping[int, _Cell], exponent: int) -> float:
    """Extrapolates the seconds at 2**exponent from two cells below; the nearer must exist."""
    seconds = cells[exponent - 1].seconds_at(1 << (exponent - 1))
    further = cells.get(exponent - 2)
    if further is None:
        return 2 * seconds
    growth = 2 * (seconds - further.seconds_at(1 << (exponent - 2)))
    return seconds + min(max(growth, 0.0), seconds)


def _largest_proportional(cells: Mapping[int, _Cell], largest: int, target: float) -> int:
    """Returns the largest exponent that fits with time proportional to rows, if no cell fits."""
    smallest, cell = next(iter(cells.items()))
    exponent = min(largest, smallest - 1)
    while exponent > 0 and (1 << exponent) / cell.rate > target:
        exponent -= 1
    return max(exponent, 0)


def nearest_exponent(rows: int) -> int:
    """Returns the power of two nearest to a number of rows, on a logarithmic scale."""
    return round(log2(rows))


class PriorCurves:
    """The curve measured last of each kind and of each size of rows, in powers of two.

    Rows of one kind may be of any length or height: a large one may cost a thousand times as much
    as a small one, so that the time of one says little about the other.
    """

    def __init__(self) -> None:
        self._curves: dict[Hashable, dict[int, tuple[int, BatchCurve]]] = {}

    def put(self, group: Group, curve: BatchCurve) -> None:
        """Keeps a curve in place of the one of its kind and size."""
        kind, size = group
        self._curves.setdefault(kind, {})[size.bit_length()] = size, curve

    def forget(self, is_gone: Callable[[Hashable], bool]) -> None:
        """Forgets the kinds of which `is_gone` is true."""
        for kind in [*self._curves]:
            if is_gone(kind):
                self._curves.pop(kind, None)

    def curve(self, group: Group) -> BatchCurve | None:
        """Returns the curve of the nearest size of a kind; None: there is none of the kind."""
        nearest = self._nearest(group)
        return None if nearest is None else nearest[1]

    def line(self, group: Group) -> CostLine:
        """Estimates the time of a group's batches.

        Where only another size was measured, a row's time is taken to be proportional to its size.
        """
        nearest = self._nearest(group)
        if nearest is None:
            return UNKNOWN
        size, curve = nearest
        ratio = group[1] / size
        if 1 / ALIKE < ratio < ALIKE:
            return curve.line
        return curve.line._replace(row=curve.line.row * ratio)

    def _nearest(self, group: Group) -> tuple[int, BatchCurve] | None:
        kind, size = group
        sizes = self._curves.get(kind)
        if not sizes:
            return None
        same = sizes.get(size.bit_length())
        if same is not None:
            return same
        # Copied, because threads may add sizes meanwhile.
        known = sizes.copy()
        return known[min(known, key=lambda power: abs(power - size.bit_length()))]
