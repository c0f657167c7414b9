"""A model copy that computes in another precision than its inputs and outputs have."""

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Dtypes by their names in `model.toml`, which are PyTorch's."""


class InPrecision(nn.Module):
    """A copy of a model whose weights are of another dtype.

    Rows are cast on their way in and outputs on their way out; autograd casts gradients back to
    the dtype of the rows.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Copies a model.

        Args:
            module: The model.
            dtype: The dtype that the copy computes with.
        """
        super().__init__()
        self._dtype = dtype
        self._given = own_dtype(module)
        self._module = copy.deepcopy(module).to(dtype)

    def forward(self, *arguments: object) -> object:
        """Casts the arguments, runs the copy and casts its outputs back."""
        given = [_cast(each, self._dtype) for each in arguments]
        return tree_map(lambda made: _cast(made, self._given), self._module(*given))


def own_dtype(module: nn.Module) -> torch.dtype:
    """Returns the dtype of the first floating-point parameter or buffer; float32 without any."""
    kept = [*module.parameters(), *module.buffers()]
    return next((each.dtype for each in kept if each.is_floating_point()), torch.float32)


def _cast(value: object, dtype: torch.dtype) -> object:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if isinstance(value, Tensor) and floating else value
