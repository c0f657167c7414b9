"""The number of rows per batch, learnt from the time and the memory of batches.

Each key has a curve, which chooses by the rules of `batch_curve`.
"""

from collections.abc import Callable, Hashable, Mapping
from math import inf
from typing import Final

from adcaptum.engine.scheduling.batch_curve import ROW_TIMES, BatchCurve, Group, Point, PriorCurves
from adcaptum.engine.scheduling.cost_line import CostLine

MAX_KEYS: Final = 1024
"""Curves that are kept; the oldest goes first."""


class BatchSizer:
    """The choice of the rows per batch for every key, from measurements.

    Args:
        target_seconds: The longest time of a batch; None: only the best throughput counts.
        row_times: The times of one row that a batch may take, where that is longer than the target;
            1: the target alone, but for a single row. Noise and trials of the next size may exceed
            either, see `batch_curve`.
        max_rows: The most rows any batch may have, or a function that says it for a key (1 for a
            model whose rows must not share a batch).
        fixed: A constant answer; only memory limits are learnt then.
        memory_bytes: The memory that a batch may take; None: any. It has an effect if `observe`
            gets the memory of batches.
        kind: Maps a key to its kind, such as "gradients of this model": the first batches of a new
            key start from the curve last measured for its kind.
        size: Maps a key to the size of its rows, at least 1, such as their bytes: among the curves
            of a kind, that of the nearest size counts. None: rows of a kind are of one size.

    Threads may share one: at worst, measurements that arrive at the same moment count as one.
    """

    def __init__(
        self,
        *,
        target_seconds: float | None = 0.025,
        row_times: float = ROW_TIMES,
        max_rows: int | Callable[[Hashable], int] = 4096,
        fixed: int | None = None,
        memory_bytes: float | None = None,
        kind: Callable[[Hashable], Hashable] | None = None,
        size: Callable[[Hashable], int] | None = None,
    ) -> None:
        for name, value in (("target_seconds", target_seconds), ("fixed", fixed)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if isinstance(max_rows, int) and max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, not {max_rows}")
        self.target_seconds = target_seconds
        self.row_times = row_times
        self.fixed = fixed
        self.memory_bytes = memory_bytes
        self._max_rows = max_rows
        self._kind = kind
        self._size = size
        self._curves: dict[Hashable, BatchCurve] = {}
        self._priors = PriorCurves()

    def rows(self, key: Hashable) -> int:
        """Returns the most rows that the next batch of `key` should have."""
        curve = self._curves.get(key)
        if curve is None:
            curve = self._start(key)
        if self.fixed is not None:
            return min(self.fixed, curve.limit.rows)
        return curve.choice

    def observe(self, key: Hashable, rows: int, seconds: float, nbytes: int | None = None) -> None:
        """Learns that a batch of `rows` rows of `key` took `seconds`, and `nbytes` of memory."""
        curve = self._curves.get(key)
        if curve is None:
            curve = self._start(key)
        if curve.limit.fit(rows):
            curve.choose()
        if self.fixed is not None:
            return
        curve.observe(rows, max(seconds, 1e-9), nbytes)
        self._priors.put(curve.group, curve)

    def out_of_memory(self, key: Hashable, rows: int) -> None:
        """Learns that a batch of `rows` rows of `key` did not fit in memory."""
        curve = self._curves.get(key) or self._start(key)
        if curve.limit.fail(rows):
            curve.choose()

    def seed(
        self,
        kind: Hashable,
        seconds_by_rows: Mapping[int, float],
        measured: tuple[int, int] | None = None,
        size: int = 1,
    ) -> None:
        """Gives the keys of a kind that are still to come a curve to start from.

        Args:
            kind: The value of `kind(key)`, or a key itself where no such function was given.
            seconds_by_rows: Seconds of a batch, by its number of rows.
            measured: The rows of a batch, and the bytes of memory that it took; None: not known.
            size: The size of the rows.
        """
        most = max(seconds_by_rows, default=1)
        prior = self._curve((kind, size), most, inf, None)
        prior.seed(seconds_by_rows, measured)
        self._priors.put(prior.group, prior)

    def forget(self, is_gone: Callable[[Hashable], bool]) -> None:
        """Forgets what was learnt of some kinds, of which no more batches come.

        Args:
            is_gone: Returns whether a kind is one of them.
        """
        for key in [*self._curves]:
            if is_gone(key if self._kind is None else self._kind(key)):
                self._curves.pop(key, None)
        self._priors.forget(is_gone)

    def limit(self, key: Hashable) -> int:
        """Returns the most rows that `key` may get by configuration, and since memory ran out."""
        curve = self._curves.get(key)
        return self._max_rows_of(key) if curve is None else curve.limit.rows

    def curve(self, key: Hashable) -> tuple[Point, ...]:
        """Returns the measured points of a key, by growing number of rows."""
        curve = self._curves.get(key)
        return () if curve is None else curve.points

    def line(self, key: Hashable) -> CostLine:
        """Returns the time of a key's batches: the straight line through its measured points."""
        curve = self._curves.get(key)
        if curve is None:
            curve = self._start(key)
        return curve.line

    def kind_line(self, kind: Hashable, size: int = 1) -> CostLine:
        """Estimates the time of a kind's batches, by its key measured last, or by its seed.

        Args:
            kind: The kind.
            size: The size of the rows: the key of the nearest size counts.
        """
        return self._priors.line((kind, size))

    def row_bytes(self, key: Hashable) -> float | None:
        """Returns the bytes that a row of a key takes in large batches; None: not measured."""
        curve = self._curves.get(key)
        if curve is None or curve.measured is None:
            return None
        rows, nbytes = curve.measured
        return nbytes / rows

    @property
    def _target(self) -> float:
        return inf if self.target_seconds is None else self.target_seconds

    def _max_rows_of(self, key: Hashable) -> int:
        return self._max_rows if isinstance(self._max_rows, int) else max(1, self._max_rows(key))

    def _curve(
        self, group: Group, limit: int, memory: float, prior: BatchCurve | None
    ) -> BatchCurve:
        return BatchCurve(
            group=group,
            limit=limit,
            target=self._target,
            row_times=self.row_times,
            memory=memory,
            prior=prior,
        )

    def _start(self, key: Hashable) -> BatchCurve:
        if len(self._curves) >= MAX_KEYS:
            self._curves.pop(next(iter(tuple(self._curves))), None)
        kind = key if self._kind is None else self._kind(key)
        memory = inf if self.memory_bytes is None else self.memory_bytes
        group = kind, 1 if self._size is None else self._size(key)
        curve = self._curve(group, self._max_rows_of(key), memory, self._priors.curve(group))
        return self._curves.setdefault(key, curve)
