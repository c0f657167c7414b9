"""An adapter for forwards that give one answer for a whole batch."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from adcaptum.engine.errors import ModelError, NotPerRow
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.execution.forwards.futures import following


class WholeBatch:
    """Calls a forward, and repeats an answer for the whole batch for each row.

    Attributes:
        shape: The shape of what the forward gave for a batch of the examples; () for a number.
            None before the first call.
    """

    __slots__ = ("_examples", "_forward", "shape")

    def __init__(self, forward: Model, examples: int) -> None:
        """Takes a forward.

        Args:
            forward: Gives a tensor or a number; for `later` a future of it.
            examples: Their number. Only a batch of as many rows may have one answer for the whole.
        """
        self._forward = forward
        self._examples = examples
        self.shape: tuple[int, ...] | None = None

    def __call__(self, *arguments: object) -> Tensor:
        return self._spread(self._forward(*arguments), _rows(arguments))

    def later(self, *arguments: object) -> torch.Future[Tensor]:
        """Does the same for a forward that returns futures.

        Raises:
            ModelError: If it gives none.
        """
        promised = self._forward(*arguments)
        if not isinstance(promised, torch.Future):
            raise ModelError(
                f"the forward gave {type(promised).__name__}: a torch.futures.Future is wanted here"
            )
        rows = _rows(arguments)
        return following(promised, lambda output: self._spread(output, rows))

    @property
    def per_row(self) -> bool:
        """True if the forward answers row by row."""
        assert self.shape is not None, "it was called"
        return self.shape[:1] == (self._examples,)

    @property
    def outputs(self) -> int:
        """The number of outputs for a batch of the examples."""
        assert self.shape is not None, "it was called"
        return prod(self.shape)

    def _spread(self, output: object, rows: int) -> Tensor:
        tensor = _tensor(output)
        if rows == self._examples:
            self.shape = tuple(tensor.shape)
        if tensor.shape[:1] == (rows,):
            return tensor
        if rows != self._examples:
            raise NotPerRow(
                f"the forward gave a tensor of shape {tuple(tensor.shape)} for a batch of {rows} "
                f"rows: one that answers for {self._examples} examples as a whole takes them alone"
            )
        # With a first dimension of 1 the others are indices; else each number is an output.
        flat = tensor if tensor.dim() > 1 and len(tensor) == 1 else tensor.reshape(1, -1)
        return flat.expand(rows, *flat.shape[1:])


def _rows(arguments: tuple[object, ...]) -> int:
    first = arguments[0]
    assert isinstance(first, Tensor), "the first argument holds the rows"
    return len(first)


def _tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, bool | int | float):
        wide = torch.int64 if isinstance(output, int) else torch.float64
        return torch.tensor(output, dtype=wide)
    if isinstance(output, torch.Future):
        raise ModelError("the forward gave a future: attribute_future takes those")
    found = next((t for t in tree_leaves(output) if isinstance(t, Tensor)), None)
    if found is None:
        form = type(output).__name__
        raise ModelError(f"the forward gave {form}: a tensor or a number is wanted")
    return found
