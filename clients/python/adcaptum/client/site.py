"""Places inside a model."""

from dataclasses import dataclass


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
        index: Its index there, without the batch dimension.
    """

    layer: str | Layer
    index: int | tuple[int, ...]
