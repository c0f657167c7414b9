"""What a method is."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, runtime_checkable

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow

LayerUse = Literal["never", "optional", "required", "through"]
"""Whether a method may explain the values at a layer instead of the inputs, or must; or whether it
explains the inputs by way of a layer, which has to be named."""


def needs_layer(use: LayerUse) -> bool:
    """Whether a layer has to be named."""
    return use in {"required", "through"}


@runtime_checkable
class Method(Protocol):
    """An attribution method: a frozen dataclass whose fields are its parameters.

    Attributes:
        name: Its name on the wire and in the registry, such as integrated_gradients.
        paper: The paper that defines it.
        gradient: Whether it needs gradients of the model.
        baseline: Whether it compares with a baseline.
        random: Whether its result depends on the explicand's seed.
        feature_masks: Whether it groups elements by feature masks.
        layer: What it does with a layer.
        background: Whether it takes a background set: several baselines for each example.
        tolerance: Whether it goes on until the explicand's tolerance is met. Other methods are
            exact, or take no notice of it.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    gradient: ClassVar[bool]
    baseline: ClassVar[bool]
    random: ClassVar[bool]
    feature_masks: ClassVar[bool]
    layer: ClassVar[LayerUse]
    background: ClassVar[bool]
    tolerance: ClassVar[bool]

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains."""
        ...

    def rows(self, explicand: Explicand) -> int:
        """How many rows that takes, as far as is known beforehand."""
        ...


@runtime_checkable
class Distributional(Protocol):
    """What takes the rows of the baselines for a background, also as many as there are examples.

    Attributes:
        distribution: True.
    """

    distribution: ClassVar[Literal[True]]
