"""Values inside a model, as requests name them."""

from dataclasses import dataclass
from typing import TypeAlias

Index: TypeAlias = int | slice


@dataclass(frozen=True, slots=True)
class Neuron:
    """One value of a layer, or the sum of a block of its values.

    Attributes:
        layer: The layer's name or alias, as ``Client.model(name).default.layers`` lists them.
        index: The value's index in the layer, without the batch: one number per dimension. With
            slices that have an end, the sum of the block.
        at_input: True for a value of the layer's input, False for one of its output.
    """

    layer: str
    index: Index | tuple[Index, ...] = ()
    at_input: bool = False
