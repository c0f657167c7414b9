"""Forecasts of the rows that a method takes to reach a tolerance, learnt per model."""

from math import exp2, floor, log2
from typing import Final

MOST: Final = 1024.0
"""The largest ratio of rows used to rows planned that a request counts for; the least: 1/1024."""

MEMORY: Final = 32.0
"""The number of recent requests over which the mean runs, about."""

PRIOR_WEIGHT: Final = 0.25
"""The weight of the method's own plan, as a share of a request."""

Bucket = tuple[str, int]


class RowForecasts:
    """The rows that a model's explanations used, relative to those that their methods planned.

    Keeps the geometric mean for each method and each factor of two of the tolerance, which one odd
    request hardly changes.
    """

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[Bucket, tuple[float, float]] = {}

    def expected(self, method: str, tolerance: float | None, planned: int) -> int:
        """Returns the rows to expect of a method; without a tolerance, those that it plans.

        Args:
            method: The method's name.
            tolerance: The relative error to reach, between 0 and 1; None: no tolerance.
            planned: The rows that the method plans.
        """
        if tolerance is None:
            return planned
        mean, _ = self._logs.get(_bucket(method, tolerance), (0.0, PRIOR_WEIGHT))
        return max(1, round(exp2(mean) * planned))

    def learn(self, method: str, tolerance: float, planned: int, used: int, *, whole: bool) -> None:
        """Records the rows that a method used.

        Args:
            method: The method's name.
            tolerance: The relative error to reach.
            planned: The rows that it planned.
            used: The rows that it used.
            whole: Whether it ran to its end; if not, it would have used more.
        """
        key = _bucket(method, tolerance)
        mean, weight = self._logs.get(key, (0.0, PRIOR_WEIGHT))
        ratio = log2(min(MOST, max(1 / MOST, used / max(1, planned))))
        if not whole and ratio <= mean:
            return
        weight = min(weight + 1, MEMORY)
        self._logs[key] = (mean + (ratio - mean) / weight, weight)


def _bucket(method: str, tolerance: float) -> Bucket:
    # One bucket for everything below a millionth, which bounds their number.
    return method, floor(log2(max(tolerance, 1e-6)))
