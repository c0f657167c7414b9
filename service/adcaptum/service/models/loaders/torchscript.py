"""TorchScript archives: `.pt` files of `torch.jit.save`."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from adcaptum.service.models.loaders.loader import Source


class Opaque(nn.Module):
    """A module without layers around a compiled one, whose layers cannot be observed."""

    def __init__(self, script: Any) -> None:
        super().__init__()
        # In a list, for as a submodule its parts would be taken for layers.
        self._scripts = [script]

    def forward(self, *inputs: Tensor) -> Any:
        """Runs the compiled module."""
        return self._scripts[0](*inputs)

    def train(self, mode: bool = True) -> Self:
        """Sets its mode and that of the compiled module."""
        self._scripts[0].train(mode)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves or converts the weights of the compiled module, for `to` and its like."""
        self._scripts[0]._apply(fn)  # noqa: SLF001 - torch has no public name for it
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch's
        return moved


class TorchScript:
    """A TorchScript archive; its inputs can be explained, its layers and operations cannot."""

    name: ClassVar[str] = "torchscript"
    file: ClassVar[str] = "model.pt"
    # Compiled code runs when it is called, and older archives unpickle.
    runs_code: ClassVar[bool] = True
    opaque: ClassVar[bool] = True

    def load(self, source: Source) -> nn.Module:
        """Returns a module around the archive."""
        source.arguments()
        try:
            script = torch.jit.load(source.trusted, map_location="cpu")
        except Exception as error:  # torch raises nothing more precise
            raise source.error(f"torch.jit cannot load it: {error}") from error
        for parameter in script.parameters():
            parameter.requires_grad_(requires_grad=False)
        return Opaque(script)
