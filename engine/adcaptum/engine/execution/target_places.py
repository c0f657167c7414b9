"""The places of targets in a batch's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument, OutOfRange
from adcaptum.engine.rows.sources import some

# The number of values up to which Python compares faster than an operation of torch.
_FEW = 32

Places = Tensor | int
"""The place of each row's target among the row's numbers, (rows, 1); or one place for all rows."""


def target_places(objective: Tensor, columns: Sequence[Tensor | int | None]) -> Places:
    """Returns the place of each row's target.

    Args:
        objective: The numbers that the targets are among, (rows, *dims).
        columns: The index of each row's target, (rows, dims), part by part; a number is that of
            all rows.

    Raises:
        InvalidArgument: If a column does not name one number.
    """
    shape = tuple(objective.shape[1:])
    index = columns[0]
    if isinstance(index, int):
        assert len(columns) == 1, "it is that of all rows"
        if len(shape) == 1 and -shape[0] <= index < shape[0]:
            return index % shape[0]
        columns = [torch.full((len(objective), 1), index, device="cpu")]
    given = [c for c in columns if isinstance(c, Tensor)]
    size = prod(shape)
    if not given or (size == 1 and not any(bool(c.any()) for c in given)):
        if size != 1:
            raise _not_given(shape)
        return 0
    if len(given) < len(columns):
        raise _not_given(shape)
    given = [c if c.shape[1] == len(shape) else _padded(c, shape) for c in given]
    joint = given[0] if len(given) == 1 else _joined(given, shape)
    if joint.shape[1] != len(shape):
        raise _out_of_range(joint, shape)
    if len(shape) == 1 and joint.shape[0] <= _FEW:
        # The usual case, without operations of torch, which dominate small batches.
        few = joint.flatten().tolist()
        if min(few) < -shape[0] or max(few) >= shape[0]:
            raise _out_of_range(joint, shape)
        if few.count(few[0]) == len(few):
            return int(few[0]) % shape[0]
    # Does not wait for the copy, so that backward is launched right behind the forward.
    return _flat(joint, shape).to(objective.device, non_blocking=True)


def _padded(columns: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Completes indices that leave out trailing dimensions of size 1."""
    missing = shape[columns.shape[1] :]
    if not missing or any(size != 1 for size in missing):
        return columns
    return torch.nn.functional.pad(columns, (0, len(missing)))


def _flat(joint: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Converts indices, (rows, dims), to numbers of elements, (rows, 1)."""
    if len(shape) == 1:
        low, high = _bounds(joint)
        if high >= shape[0] or low < -shape[0]:
            raise _out_of_range(joint, shape)
        return joint if low >= 0 else joint.remainder(shape[0])
    sizes = torch.tensor(shape, dtype=torch.int64)
    if bool(((joint < -sizes) | (joint >= sizes)).any()):
        raise _out_of_range(joint, shape)
    strides = torch.tensor([prod(shape[i + 1 :]) for i in range(len(shape))])
    return (joint.remainder(sizes) * strides).sum(1, keepdim=True)


def _bounds(numbers: Tensor) -> tuple[int, int]:
    """Returns the least and the largest of some whole numbers on the CPU."""
    if numbers.numel() <= _FEW:
        few = numbers.flatten().tolist()
        return min(few), max(few)
    low, high = numbers.aminmax()
    return int(low), int(high)


def _not_given(shape: tuple[int, ...]) -> InvalidArgument:
    return InvalidArgument(
        "target", "not given", f"an index into the output of shape {shape} per row"
    )


def _joined(columns: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    for column in columns:
        if column.shape[1] != len(shape):
            raise _out_of_range(column, shape)
    return torch.cat(list(columns))


def _out_of_range(columns: Tensor, shape: tuple[int, ...]) -> InvalidArgument:
    sizes = torch.tensor(shape, dtype=torch.int64)
    kind, bad = InvalidArgument, columns
    if columns.shape[1] == len(shape):
        kind, bad = OutOfRange, columns[((columns < -sizes) | (columns >= sizes)).any(1)]
    return kind(
        "target",
        str(tuple(bad[0].tolist())),
        f"an index into the output's shape without the rows, {shape}",
    )


def values_at(objective: Tensor, places: Places | None) -> Tensor:
    """Returns each row's target, (rows,), as a copy; without places the raw outputs."""
    if places is None:
        return objective
    flat = objective if objective.dim() == 2 else objective.reshape(objective.shape[0], -1)
    if isinstance(places, int):
        return flat.select(1, places).clone()
    return flat.gather(1, places).squeeze(1)


def ones_at(objective: Tensor, places: Places | None, rows: int) -> Tensor:
    """Returns ones at the first rows' targets and zeros elsewhere, in the objective's shape."""
    assert places is not None, "a gradient has a target"
    made = torch.zeros_like(objective, memory_format=torch.contiguous_format)
    flat = some(made if made.dim() == 2 else made.view(made.shape[0], -1), 0, rows)
    if isinstance(places, int):
        flat.select(1, places).fill_(1)
    else:
        flat.scatter_(1, places, 1)
    return made
