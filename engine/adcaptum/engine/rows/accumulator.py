"""Sums of many rows that arrive batch by batch, precise to the last digit of float32."""

from __future__ import annotations

import torch
from torch import Tensor

# Apple's GPUs compute in float32 at most.
_WITHOUT_FLOAT64 = frozenset({"mps"})


class Accumulator:
    """Sums, to which parts are added in any order.

    The sums are kept in float64, so that they do not depend on how rows were cut into batches, and
    no TF32 kernel touches them; on devices without float64 they are kept in float32 with their
    rounding errors beside them (Neumaier (1974), https://doi.org/10.1002/zamm.19740540106).
    """

    __slots__ = ("_lost", "_sums")

    def __init__(self, sums: Tensor) -> None:
        """Begins with the first sums, in the dtype that `summable` gives."""
        self._sums = sums
        self._lost = torch.zeros_like(sums) if _compensates(sums) else None

    def add(self, start: int, stop: int, part: Tensor) -> None:
        """Adds a part to sums start..stop.

        Args:
            start: The first sum.
            stop: The one behind the last.
            part: Of the sums' dtype, (stop - start, *features).
        """
        if self._lost is None:
            self._sums[start:stop] += part
            return
        before = self._sums[start:stop]
        after = before + part
        larger = before.abs() >= part.abs()
        kept, other = torch.where(larger, before, part), torch.where(larger, part, before)
        self._lost[start:stop] += (kept - after) + other
        self._sums[start:stop] = after

    def result(self, dtype: torch.dtype) -> Tensor:
        """The sums, rounded once, to a dtype."""
        return (self._sums if self._lost is None else self._sums + self._lost).to(dtype)


def summable(tensor: Tensor) -> Tensor:
    """The tensor in the dtype in which its device sums: float64 where there is one."""
    if tensor.dtype is torch.float32 and tensor.device.type not in _WITHOUT_FLOAT64:
        return tensor.double()  # by far the most usual
    return tensor.to(summing_dtype(tensor))


def summing_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype in which a tensor's device sums: float64 (or complex128) where there is one."""
    least = torch.float32 if tensor.device.type in _WITHOUT_FLOAT64 else torch.float64
    return torch.promote_types(tensor.dtype, least)


def weighted(weights: Tensor, rows: Tensor) -> Tensor:
    """Sums rows with weights, (examples, *features).

    Args:
        weights: Of shape (rows,), of the rows' dtype.
        rows: Of shape (examples, rows, *features), as `summable` gives them.
    """
    if rows.dim() == 3 and not _compensates(rows):
        return torch.matmul(weights, rows)
    shape = rows.shape
    flat = rows.reshape(*shape[:2], -1)
    # A matrix product of float32 may be one of TF32 on a GPU.
    sums = (flat * weights[:, None]).sum(1) if _compensates(rows) else torch.matmul(weights, flat)
    return sums.view(shape[0], *shape[2:])


def _compensates(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.complex64)
