"""The places of targets in a batch's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument, OutOfRange

# The number of values up to which Python compares faster than an operation of torch.
_FEW = 32


def target_places(objective: Tensor, columns: Sequence[Tensor | None]) -> Tensor:
    """Returns the place of each row's target among the row's numbers, (rows, 1).

    Raises:
        InvalidArgument: If a column does not name one number.
    """
    shape = tuple(objective.shape[1:])
    given = [c for c in columns if c is not None]
    size = prod(shape)
    if not given or (size == 1 and not any(bool(c.any()) for c in given)):
        if size != 1:
            raise _not_given(shape)
        return torch.zeros(objective.shape[0], 1, dtype=torch.int64, device=objective.device)
    if len(given) < len(columns):
        raise _not_given(shape)
    given = [_padded(c, shape) for c in given]
    joint = given[0] if len(given) == 1 else _joined(given, shape)
    if joint.shape[1] != len(shape):
        raise _out_of_range(joint, shape)
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
        # The usual case, with as few operations as possible, which dominate small batches.
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


def values_at(objective: Tensor, places: Tensor | None) -> Tensor:
    """Returns each row's target, (rows,); without places the raw outputs."""
    if places is None:
        return objective
    flat = objective if objective.dim() == 2 else objective.reshape(objective.shape[0], -1)
    return flat.gather(1, places).squeeze(1)
