"""The search for equal rows of a batch, which the model evaluates once.

Where an input equals its baseline in places (black pixels, padding, zeros of a table), methods that
switch features yield the same row repeatedly: half of the rows of Occlusion or of Shapley values on
small pictures of digits. Across requests hardly any rows are equal.

Rules:
1. Only rows that are equal bit by bit count as equal; a fingerprint finds candidates.
2. A search that did not pay delays the next one, longer each time, so that the search does not cost
   more than it saves for long.
3. Rows on the CPU only: on other devices the search would wait for the device.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

FEWEST: Final = 8
"""The fewest rows of a batch that is searched."""

LONGEST_WAIT: Final = 256
"""The most batches between two searches, however often they did not pay."""


class Distinct(NamedTuple):
    """The distinct rows of a batch.

    Attributes:
        rows: Each once, in the order in which they first came.
        numbers: For every row of the batch its number among them, int64.
    """

    rows: tuple[Tensor, ...]
    numbers: Tensor


def distinct(tensors: Sequence[Tensor]) -> Distinct | None:
    """Finds the distinct rows of tensors, (rows, *features) each; None if all are distinct.

    None too where rows that differ have the same fingerprint, or where one holds NaN.
    """
    rows = len(tensors[0])
    flat = [tensor.reshape(rows, -1) for tensor in tensors]
    prints = torch.zeros(rows, dtype=torch.float64)
    for number, tensor in enumerate(flat):
        prints += tensor.double() @ _directions(tensor.shape[1], number)
    found, groups = prints.unique(return_inverse=True)
    if len(found) == rows:
        return None
    first = torch.full((len(found),), rows)
    first.scatter_reduce_(0, groups, torch.arange(rows), "amin")
    # Numbers rows in the order of their coming, so that the order is independent of fingerprints.
    first, places = first.sort()
    numbers = places.argsort()[groups]
    same = first[numbers]
    # Compared as bits, because zero and minus zero are equal numbers.
    if not all(torch.equal(bits[same], bits) for bits in map(_bits, flat)):
        return None
    return Distinct(tuple(tensor[first] for tensor in tensors), numbers)


_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])


@lru_cache(maxsize=16)
def _directions(size: int, number: int) -> Tensor:
    """Numbers without a pattern, so that rows that differ have different fingerprints."""
    places = torch.arange(1, size + 1, dtype=torch.float64)
    return (places * 12.9898 + 78.233 * (number + 1)).sin().mul_(43758.5453).frac_()


class Duplicates:
    """The decision, for batches of one kind, whether to search for equal rows.

    Args:
        clock: The time in seconds.
    """

    __slots__ = ("_clock", "_seconds", "_since", "_wait")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._since = 0
        self._wait = 0

    def look(self, tensors: Sequence[Tensor], row_seconds: float) -> Distinct | None:
        """Returns the distinct rows of a batch; None without a search, or if it is not worth it.

        Args:
            tensors: Its rows.
            row_seconds: The time that one more row takes.
        """
        rows = len(tensors[0])
        if tensors[0].device.type != "cpu":
            return None
        self._since += 1
        if rows < FEWEST or self._since <= self._wait or rows * row_seconds < self._seconds:
            return None
        begin = self._clock()
        found = distinct(tensors)
        self._seconds = self._clock() - begin
        saved = 0 if found is None else rows - len(found.rows[0])
        pays = saved * row_seconds > self._seconds
        self._since = 0
        self._wait = 0 if pays else min(2 * self._wait + 1, LONGEST_WAIT)
        return found if pays else None
