"""Descriptions of attribution methods and their parameters."""

from dataclasses import dataclass
from enum import StrEnum

from adcaptum.client.method import ParameterValue


class ParameterType(StrEnum):
    """The type of a method's parameter."""

    UNKNOWN = "unknown"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    INTEGERS = "integers"
    METHOD = "method"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A parameter of a method.

    Attributes:
        name: The name.
        type: The type.
        default: The default; None where it depends on the input, see text.
        minimum: The smallest allowed value; None if there is none.
        maximum: The largest allowed value; None if there is none.
        choices: The allowed words of a choice.
        text: Its description.
    """

    name: str
    type: ParameterType
    default: ParameterValue | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """An attribution method.

    Attributes:
        name: The name in requests, such as integrated_gradients.
        title: The name that people and papers use, such as IntegratedGradients.
        summary: A description in a sentence.
        paper: The paper that defines it.
        parameters: Its parameters, in order.
        gradient: It needs gradients of the model.
        baseline: It uses a baseline.
        random: The result depends on the seed.
        available: The named model can run it; true where no model was named.
        reason: The reason why the model cannot run it.
        layers: It can explain a layer inside the model.
        layer_required: The request has to name a layer: the method explains layers only, or the
            inputs through one.
        feature_masks: It takes feature masks.
        background: Its baseline may be a distribution, such as ``Samples``.
        tolerance: It takes a tolerance: it continues until its estimated error is below it.
    """

    name: str
    title: str
    summary: str
    paper: str
    parameters: tuple[ParameterInfo, ...]
    gradient: bool
    baseline: bool
    random: bool
    available: bool
    reason: str
    layers: bool
    layer_required: bool
    feature_masks: bool
    background: bool
    tolerance: bool
