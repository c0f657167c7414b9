"""How many rows methods take to a tolerance, learnt: they cannot know the model beforehand."""

from math import exp2, floor, log2
from typing import Final

MOST: Final = 1024.0
"""A request counts for so many times the rows that were foretold at most, or for the inverse."""

MEMORY: Final = 32.0
"""The mean is that of about so many of the last requests."""

FORETOLD: Final = 0.25
"""How much what is foretold counts, as a share of a request."""

Bucket = tuple[str, int]


class RowForecasts:
    """The rows that a model's explanations took, relative to those that were foretold.

    For each method, and tolerances within a factor of two, the geometric mean, which one odd
    request hardly changes.
    """

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[Bucket, tuple[float, float]] = {}

    def expected(self, method: str, tolerance: float | None, foretold: int) -> int:
        """How many rows to expect of a method that foretells so many; without a tolerance, those.

        Args:
            method: Its name.
            tolerance: What it goes on until, between 0 and 1; None: it takes what it says.
            foretold: The rows that it foretells.
        """
        if tolerance is None:
            return foretold
        mean, _ = self._logs.get(_bucket(method, tolerance), (0.0, FORETOLD))
        return max(1, round(exp2(mean) * foretold))

    def learn(
        self, method: str, tolerance: float, foretold: int, used: int, *, whole: bool
    ) -> None:
        """Notes what a method took.

        Args:
            method: Its name.
            tolerance: What it went on until.
            foretold: The rows that it foretold.
            used: The rows that it took.
            whole: Whether it went on to its end; if not, it would have taken more.
        """
        key = _bucket(method, tolerance)
        mean, weight = self._logs.get(key, (0.0, FORETOLD))
        ratio = log2(min(MOST, max(1 / MOST, used / max(1, foretold))))
        if not whole and ratio <= mean:
            return
        weight = min(weight + 1, MEMORY)
        self._logs[key] = (mean + (ratio - mean) / weight, weight)


def _bucket(method: str, tolerance: float) -> Bucket:
    # Beyond a millionth nobody goes, and there is one bucket.
    return method, floor(log2(max(tolerance, 1e-6)))
