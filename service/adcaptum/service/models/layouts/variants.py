"""A model as loaded, or a faster copy of it."""

from dataclasses import dataclass, field

from torch import nn

from adcaptum.service.models.layouts.transforms import AS_LOADED
from adcaptum.service.models.layouts.trials import SAME, Distance, TrialReport


@dataclass(frozen=True, slots=True, eq=False)
class ModelVariant:
    """A model, or a transformed copy, that evaluates rows at the model's inputs and outputs.

    Attributes:
        module: The module to evaluate.
        name: The transforms in words.
        distance: The distance of its outputs and gradients from the model's, at the examples.
        trials: The comparison from which it was chosen.
    """

    module: nn.Module
    name: str = AS_LOADED
    distance: Distance = SAME
    trials: TrialReport = field(default_factory=TrialReport)
