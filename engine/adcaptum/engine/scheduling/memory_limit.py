"""The most rows of a batch after memory has run out.

Rules:
1. After an out-of-memory error a batch gets at most half of the rows that failed.
2. Another program may have held the memory for a moment, so that twice the limit is allowed again
   after `PROBE` full batches, and again until all rows are.
3. Each time that fails, the number of batches doubles: a limit that is real is probed less and less
   often. It begins anew once a full batch of the larger size has fitted.
4. A batch that was on its way when the limit fell says nothing new, and several halvings until
   something fits are one failure.
"""

from typing import Final

PROBE: Final = 64
"""Full batches after which a limit is doubled, at first."""


class MemoryLimit:
    """The limit of one kind of batch.

    Attributes:
        rows: The most rows that a batch may have.
    """

    __slots__ = ("_failures", "_falling", "_most", "_since", "_tried", "rows")

    def __init__(self, most: int) -> None:
        """Begins without one.

        Args:
            most: The most rows that a batch may have if there is memory enough.
        """
        self.rows = self._most = self._tried = most
        self._failures = self._since = 0
        self._falling = False

    def fail(self, rows: int) -> bool:
        """Learns that a batch did not fit; returns whether that changes the limit."""
        fallen = max(1, rows // 2)
        if fallen >= self.rows:
            return False
        self._failures += not self._falling
        self._falling, self._since = True, 0
        self.rows = self._tried = fallen
        return True

    def fit(self, rows: int) -> bool:
        """Learns that a batch did fit; returns whether that changes the limit."""
        self._falling = False
        if not self._failures or rows < 1 << (self.rows.bit_length() - 1):
            return False
        if self.rows > self._tried:
            self._tried, self._since = self.rows, 0
            self._failures = 1 if self.rows < self._most else 0
        self._since += 1
        # A larger shift would be a number of batches that is never reached.
        if self.rows == self._most or self._since < PROBE << min(self._failures - 1, 32):
            return False
        self._since = 0
        self.rows = min(2 * self.rows, self._most)
        return True
