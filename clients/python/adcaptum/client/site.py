"""Places in a model at which attributions are taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from adcaptum.client.baseline import Baseline
from adcaptum.client.mask import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A layer whose values are explained instead of the inputs.

    Attributes:
        layer: The layer's name or alias, as ``Client.model(name).default.layers`` lists them.
        at_input: True for the layer's input, False for its output.
        baselines: References in the layer's own space, one per tensor at the layer: numbers, arrays
            or ``Distribution``; several in a list. Empty: the layer's values at the baselines of
            the inputs.
        feature_masks: Features of the layer's elements, one mask per tensor at the layer. Empty:
            each element is a feature.
    """

    layer: str
    at_input: bool = False
    baselines: Baseline | Sequence[Baseline] = ()
    feature_masks: Mask | Sequence[Mask] = ()
