"""Arguments of methods for several copies of each example, an example's one after another."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from adcaptum.engine.vocabulary.arguments import PerExample


def repeated(argument: Any, count: int, size: int) -> Any:
    """Repeats an argument that has a value for each example; returns others unchanged.

    Args:
        argument: A target, or further arguments of forward.
        count: The number of examples.
        size: The number of copies.
    """
    if isinstance(argument, tuple):
        return tuple(repeated(part, count, size) for part in argument)
    if isinstance(argument, PerExample):
        return PerExample(argument.tensor.repeat_interleave(size, 0))
    if isinstance(argument, list) and len(argument) == count:
        return [one for one in argument for _ in range(size)]
    if isinstance(argument, Tensor) and argument.dim() and len(argument) == count:
        return argument.repeat_interleave(size, 0)
    return argument


def repeated_rows(argument: Any, inputs: tuple[Tensor, ...], size: int) -> Any:
    """Repeats baselines or masks with a row for each of several examples.

    Those of fewer dimensions than their input are shared, and so is a single row.

    Args:
        argument: A tensor or another value, or a tuple of one for each input.
        inputs: The inputs.
        size: The number of copies.
    """
    count = len(inputs[0])
    if count == 1:
        return argument
    if not isinstance(argument, tuple):
        return repeated_rows((argument,), inputs, size)[0]
    dims = [t.dim() for t in inputs] + [0] * len(argument)
    return tuple(
        repeated(part, count, size) if isinstance(part, Tensor) and part.dim() == n else part
        for part, n in zip(argument, dims, strict=False)
    )
