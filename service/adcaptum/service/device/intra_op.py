"""PyTorch's threads inside an operation, for each batch by what runs beside it.

Batches side by side share the cores without waiting for each other, which threads inside an
operation do not. But a batch that is alone leaves the other cores idle. How much they bring to it
depends on the model, on the rows and on what else the machine does, so that it is measured while
serving (ADR 126).
"""

from collections.abc import Hashable
from typing import Final

import torch

FEWEST: Final = 3
"""The batches by which a number of threads is known."""

AGAIN: Final = 64
"""Of so many batches one is for the number of threads that is slower, in case that has changed."""

WORTH: Final = 1.1
"""The speed-up from which on more threads are used: they take the cores from other processes."""

MEMORY: Final = 0.2
"""The weight of the last batch in the mean."""

MOST_RATIO: Final = 3.0
"""The largest ratio to the mean that a batch counts with: the machine may have stood still."""


class _Mean:
    """The mean time of batches, of which later ones count more."""

    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        if self.count <= FEWEST:
            # The first one chooses kernels and starts threads.
            self.value = seconds if self.count == 1 else min(self.value, seconds)
            return
        self.value += MEMORY * (min(seconds, MOST_RATIO * self.value) - self.value)


class IntraOp:
    """The numbers of threads, and what they have brought.

    Attributes:
        usual: The threads of a batch that runs beside others.
        alone: The most threads of a batch that has the device to itself.
    """

    def __init__(self, usual: int = 1, alone: int = 1) -> None:
        """Prepares it.

        Args:
            usual: The threads of a batch that runs beside others.
            alone: The most threads of a batch that has the device to itself.
        """
        self.usual = usual
        self.alone = max(usual, alone)
        self._times: dict[tuple[Hashable, int], tuple[_Mean, _Mean]] = {}
        self._count = 0

    def begin(self, kind: Hashable, rows: int, *, alone: bool) -> int:
        """Gives the calling thread the number of threads for a batch, and returns it.

        Args:
            kind: The kind of its rows: rows of one kind cost the same.
            rows: Their number.
            alone: Whether the batch has the device to itself.
        """
        if self.alone == self.usual:
            return self.usual
        threads = self._choice(kind, rows) if alone else self.usual
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return threads

    def end(self, kind: Hashable, rows: int, threads: int, seconds: float, *, alone: bool) -> float:
        """Learns from a batch.

        Args:
            kind: The kind of its rows.
            rows: Their number.
            threads: The threads that it had.
            seconds: Its wall time.
            alone: Whether it had the device to itself all the time.

        Returns:
            How many times as long it would have taken with the usual threads, as far as is known.
        """
        if self.alone == self.usual:
            return 1.0
        usual, more = self._of(kind, rows)
        if alone:
            (usual if threads == self.usual else more).add(seconds)
        if threads == self.usual or not (usual.value and more.value):
            return 1.0
        return usual.value / more.value

    def _choice(self, kind: Hashable, rows: int) -> int:
        usual, more = self._of(kind, rows)
        if usual.count < FEWEST:
            return self.usual
        if more.count < FEWEST:
            return self.alone
        self._count += 1
        faster = usual.value > WORTH * more.value
        if self._count % AGAIN == 0:
            faster = not faster
        return self.alone if faster else self.usual

    def _of(self, kind: Hashable, rows: int) -> tuple[_Mean, _Mean]:
        key = kind, rows.bit_length()
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = _Mean(), _Mean()
        return times
