"""A model that computes in another precision than it takes and gives."""

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
"""By the names in `model.toml`, which are PyTorch's."""


class InPrecision(nn.Module):
    """A copy of a model whose weights are of another dtype.

    Rows are cast on their way in, and what the model gives on its way out; gradients come back in
    the dtype of the rows, because autograd casts them likewise.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Copies a model.

        Args:
            module: The model.
            dtype: What its copy computes with.
        """
        super().__init__()
        self._dtype = dtype
        self._given = own_dtype(module)
        self._module = copy.deepcopy(module).to(dtype)

    def forward(self, *arguments: object) -> object:
        """Does what the model does."""
        given = [_cast(each, self._dtype) for each in arguments]
        return tree_map(lambda made: _cast(made, self._given), self._module(*given))


def own_dtype(module: nn.Module) -> torch.dtype:
    """Returns what a model computes with; float32 where nothing in it tells."""
    kept = [*module.parameters(), *module.buffers()]
    return next((each.dtype for each in kept if each.is_floating_point()), torch.float32)


def _cast(value: object, dtype: torch.dtype) -> object:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if isinstance(value, Tensor) and floating else value
