"""Batch norms folded into the layers before them, in a copy of the model.

In evaluation mode a batch norm is an affine map of each channel, and so is what a convolution or a
linear layer ends with: one such layer with other weights does what both did. The copy's batch norms
are identities, so that every module keeps its name; what stands between the two is another number.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_CALLS: Final[Mapping[type[nn.Module], Callable[..., Tensor]]] = {
    nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d, nn.Linear: F.linear,
}  # fmt: skip
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Pair = tuple[str, str]
"""The names of a layer and of the batch norm behind it."""


class _Watch(TorchFunctionMode):
    """Records, operation by operation, which use the outputs of layers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        parts = list(module.named_modules())
        self._layers = {
            id(part.weight): (name, _CALLS[type(part)])
            for name, part in parts
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
            and type(part) in _CALLS
        }
        self._norms = {
            id(part.running_mean): name
            for name, part in parts
            if isinstance(part, _NORMS) and part.running_mean is not None
        }
        self._made: dict[int, str] = {}
        # An id belongs to a tensor only as long as the tensor exists.
        self._kept: list[Tensor] = []
        self.calls: Counter[str] = Counter()
        self.users: dict[str, list[str]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs an operation and records the tensors that it takes."""
        result = func(*args, **(kwargs or {}))
        # An operation that returns no tensor reads a shape or the like.
        if not any(isinstance(made, Tensor) for made in tree_leaves(result)):
            return result
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        norms = [self._norms[id(t)] for t in given if id(t) in self._norms]
        user = norms[0] if norms and func is F.batch_norm else ""
        self.calls.update(norms)
        for t in given:
            if id(t) in self._made:
                self.users[self._made[id(t)]].append(user)
            layer, call = self._layers.get(id(t), ("", None))
            if call is None:
                continue
            self.calls[layer] += 1
            if func is call and isinstance(result, Tensor):
                self._kept.append(result)
                self._made[id(result)] = layer
                self.users.setdefault(layer, [])
        return result


def foldable(module: nn.Module, run: Callable[[], object]) -> list[Pair]:
    """Finds pairs of a layer and a batch norm that is the only user of its output.

    Args:
        module: The model, in evaluation mode.
        run: Runs it.
    """
    with torch.no_grad(), _Watch(module) as watch:
        run()
    return [
        (layer, users[0])
        for layer, users in watch.users.items()
        if len(users) == 1 and users[0] and watch.calls[layer] == watch.calls[users[0]] == 1
    ]


def folded(module: nn.Module, pairs: Sequence[Pair]) -> nn.Module:
    """Returns a copy of a model whose batch norms are folded."""
    made = copy.deepcopy(module)
    for layer, norm in pairs:
        first, second = made.get_submodule(layer), made.get_submodule(norm)
        assert isinstance(second, _NORMS), "foldable found it"
        if isinstance(first, nn.Linear):
            _replace(made, layer, fuse_linear_bn_eval(first, second))
        else:
            assert isinstance(first, nn.Conv1d | nn.Conv2d | nn.Conv3d), "foldable found it"
            _replace(made, layer, fuse_conv_bn_eval(first, second))
        _replace(made, norm, nn.Identity())
    return made.eval().requires_grad_(requires_grad=False)


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, part)
