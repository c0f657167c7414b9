"""Layers and neurons of a model, as requests name them."""

from dataclasses import dataclass
from typing import TypeAlias

Index: TypeAlias = int | slice


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the model.

    Attributes:
        name: Its name or alias, as ``Client.model(name).layers`` lists them.
        input: Explain the layer's input instead of its output.
    """

    name: str
    input: bool = False


@dataclass(frozen=True, slots=True)
class Neuron:
    """A neuron, or a block of them, to explain instead of an output.

    Attributes:
        layer: The layer whose output contains it.
        index: Its index there, without the batch dimension: one number for each dimension; with
            slices that have a start and an end, the sum of the block.
    """

    layer: str | Layer
    index: Index | tuple[Index, ...]
