"""Places inside a model."""

from dataclasses import dataclass
from typing import TypeAlias

Index: TypeAlias = int | slice


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the model.

    Attributes:
        name: Its name or alias, as ``Client.model(name).layers`` lists them.
        input: Whether the place is the layer's input instead of its output.
    """

    name: str
    input: bool = False


@dataclass(frozen=True, slots=True)
class Neuron:
    """One number inside the model, to be explained instead of an output.

    Attributes:
        layer: The layer in whose output it is.
        index: Its index there, without the batch dimension: one number for each dimension; with
            slices that say where they begin and end, the sum of the block.
    """

    layer: str | Layer
    index: Index | tuple[Index, ...]
