"""Sites: places in a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

Layer = str | nn.Module


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the model: what a module takes or gives.

    A module that takes or gives several tensors (a tuple, a dict, nested) has them all at its
    site, in the order of torch's pytrees; tensors that are not floating-point are passed over.
    Several modules are one site too: their tensors are explained together, each one's in turn.

    Attributes:
        layer: The module's qualified name, as `named_modules` gives it; "" is the model. In a
            process that has the model at hand, the module itself, or several of them.
        io: Whether the place is what the module takes or what it gives.
        call: Which call of the module is meant, from 0, where the model calls it several times in
            one forward; None: its only call.
    """

    layer: Layer | tuple[Layer, ...]
    io: Literal["input", "output"] = "output"
    call: int | None = None

    def __str__(self) -> str:
        if self.layer == "":
            return f"the {self.io}"
        call = "" if self.call is None else f", call {self.call}"
        return f"the {self.io} of layer {self.named}{call}"

    @property
    def named(self) -> str:
        """The layer's name in messages."""
        layers = self.layer if isinstance(self.layer, tuple) else (self.layer,)
        return " and ".join(
            repr(layer) if isinstance(layer, str) else type(layer).__name__ for layer in layers
        )


INPUT = Site("", "input")
"""The model's own inputs."""
