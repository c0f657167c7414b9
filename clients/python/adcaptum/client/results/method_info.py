"""Descriptions of attribution methods and their parameters."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adcaptum.client.method import ParameterValue


class ParameterType(StrEnum):
    """Type of a method's parameter."""

    UNKNOWN = "unknown"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    INTEGERS = "integers"
    METHOD = "method"


class SiteUse(StrEnum):
    """Use that a method makes of a layer: none, the inputs with its help, or its values."""

    UNKNOWN = "unknown"
    NO_LAYER = "no_layer"
    LAYER_OPTIONAL = "layer_optional"
    LAYER_REQUIRED = "layer_required"
    INPUTS_WITH_LAYER = "inputs_with_layer"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A parameter of a method.

    Attributes:
        name: The name.
        type: The type of its values.
        default: The default; None where it depends on the input, see description.
        minimum: Smallest allowed value; None if there is no bound.
        maximum: Largest allowed value; None if there is no bound.
        choices: Allowed words of a choice.
        description: The effect of the parameter.
    """

    name: str
    type: ParameterType
    default: ParameterValue | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """An attribution method.

    Attributes:
        name: Name in requests, such as integrated_gradients.
        title: Name in papers and in Captum, such as IntegratedGradients.
        description: Summary in a sentence.
        paper: The paper that defines it.
        parameters: Its parameters, in order.
        needs_gradients: It needs gradients of the model.
        uses_baseline: It compares the input with a baseline.
        uses_seed: Its answer depends on the seed.
        accepts_feature_masks: It takes feature masks.
        accepts_distribution: Its baseline may be a ``Distribution`` or ``Background``.
        accepts_tolerance: It takes a tolerance.
        accepts_neuron: It takes and requires ``through``.
        site_use: Its use of a layer.
        available: Whether the named model can run it; None where no model was named.
        reason: The reason why the model cannot run it; empty if it can.
        message: The description as it came: a ``Method`` of the protocol.
    """

    name: str
    title: str
    description: str
    paper: str
    parameters: tuple[ParameterInfo, ...]
    needs_gradients: bool
    uses_baseline: bool
    uses_seed: bool
    accepts_feature_masks: bool
    accepts_distribution: bool
    accepts_tolerance: bool
    accepts_neuron: bool
    site_use: SiteUse
    available: bool | None
    reason: str
    message: Any = field(default=None, repr=False, compare=False)
