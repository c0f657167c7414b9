"""Sites: places in a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

Layer = str | nn.Module


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the model: the input or the output of a module.

    If that is several tensors (a tuple, a dict, nested), the site has all of them, in the order of
    torch's pytrees, except those that are not floating-point. Several modules are one site too,
    which has their tensors one module after another.

    Attributes:
        layer: The module's qualified name, as `named_modules` gives it; "" is the model. In a
            process that has the model at hand, the module itself, or several of them.
        io: Whether the place is the module's input or its output.
        call: The number of the call, from 0, where the model calls the module several times in one
            forward; None: its only call.
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
