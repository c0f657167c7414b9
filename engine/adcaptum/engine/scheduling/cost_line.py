"""The time of a batch as a straight line over its rows."""

from math import ceil
from typing import Final, NamedTuple


class CostLine(NamedTuple):
    """The time of batches of a key: seconds = row * rows + batch.

    Attributes:
        row: Seconds for one more row.
        batch: Seconds for a batch beside its rows.
        rows: The most rows of a batch.
    """

    row: float
    batch: float
    rows: int

    def seconds(self, rows: int) -> float:
        """Returns the time of `rows` rows by themselves, in as many batches as they need."""
        return self.row * rows + self.batch * ceil(rows / self.rows)


UNKNOWN: Final = CostLine(0.0, 0.0, 1)
"""The line of a key without a measurement."""
