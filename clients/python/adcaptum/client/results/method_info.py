"""What is known of an attribution method."""

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
        default: The default; None where it is chosen by the input, see text.
        minimum: The smallest allowed value; None if there is none.
        maximum: The largest allowed value; None if there is none.
        choices: The allowed words of a choice.
        text: What it does.
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
        summary: What it does, in a sentence.
        paper: The paper that defines it.
        parameters: Its parameters, in order.
        gradient: Whether it needs gradients of the model.
        baseline: Whether it uses a baseline.
        random: Whether the result depends on the seed.
        available: Whether the named model can run it; true where no model was named.
        reason: Why the model cannot run it.
        layers: Whether it can explain a layer inside the model.
        layer_required: Whether a layer has to be named: it explains layers only, or the inputs by
            way of one.
        feature_masks: Whether it takes feature masks.
        background: Whether its baseline may be a distribution, such as ``Samples``.
        tolerance: Whether it takes a tolerance: it goes on until its estimated error is below it.
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
