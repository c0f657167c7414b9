"""Descriptions of served models."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of a model: name, version and digest of the weights.

    Attributes:
        name: The model's name.
        version: The version that answered.
        digest: Hexadecimal BLAKE2b digest of the model's declaration and weights.
    """

    name: str
    version: str
    digest: str


class ModelState(StrEnum):
    """Serving state of a model."""

    UNKNOWN = "unknown"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class InputInfo:
    """An input of a model.

    Attributes:
        name: The name by which requests refer to it.
        datatype: The datatype that the model takes, such as FP32.
        shape: The shape, batch first; -1 stands for any length.
        kind: image, text, tabular or tensor.
        features: The name of each feature of a tabular input.
        units: The unit of each feature of a tabular input; empty where unknown.
        default_baseline: The baseline of requests that give none.
        baselines: The named baselines.
        background_rows: Number of rows of the background set of ``Samples``.
        embedding: The layer at whose output an integer input is explained; empty for inputs that
            are explained directly.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: str
    features: tuple[str, ...]
    units: tuple[str, ...]
    default_baseline: str
    baselines: tuple[str, ...]
    background_rows: int
    embedding: str


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """An output of a model.

    Attributes:
        name: The name.
        datatype: The datatype, such as FP32.
        shape: The shape, batch first; -1 stands for any length.
        labels: The name of each class; empty if the model declares none.
        kind: logits, probabilities or values.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer that can be explained.

    Attributes:
        name: The qualified name of the module.
        alias: A readable name; empty if the model declares none.
        type: The class of the module.
        shape: The shape of its output for one example, without the batch; empty if the output is
            not of floating-point numbers.
    """

    name: str
    alias: str
    type: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelChecks:
    """Results of the checks at load.

    Attributes:
        independent: The output of a row does not depend on the other rows of its batch.
        differentiable: Gradients of the output reach the inputs.
        accuracy: Held-out accuracy from 0 to 1; None if it was not measured.
    """

    independent: bool
    differentiable: bool
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LayoutInfo:
    """The memory layout and precision of a model in evaluations of its inputs and outputs.

    Distances are sums of differences, relative to the sum of the magnitudes, at the examples that
    the model was checked with.

    Attributes:
        name: A description: "as loaded", or the changes.
        output_distance: Distance of its outputs from those of the model as loaded.
        gradient_distance: The same of its gradients.
        own_output_rounding: Distance of the outputs of the model as loaded from those in float64; 0
            where nothing was tried.
        own_gradient_rounding: The same of its gradients.
        rows_per_second: The speed of each layout that was tried, by name.
        failures: The reasons against the layouts that were refused, by name.
    """

    name: str
    output_distance: float
    gradient_distance: float
    own_output_rounding: float
    own_gradient_rounding: float
    rows_per_second: Mapping[str, float]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Description of a served model.

    Attributes:
        identity: The default version.
        versions: All versions that are served.
        aliases: Alias to version.
        state: The serving state.
        reason: The reason why it does not serve; empty if it does.
        description: A description for people.
        inputs: Its inputs, in the order of the forward method.
        outputs: Its outputs; the first is explained.
        layers: Its layers; only ``Client.model`` fills them.
        checks: Results of the checks at load.
        default_method: The method of requests that name none.
        device: The device it runs on.
        max_rows: The largest number of rows that one explanation may use.
        max_examples: The largest number of examples in one request.
        layout: Its memory layout and precision; None before it serves.
    """

    identity: ModelIdentity
    versions: tuple[str, ...]
    aliases: Mapping[str, str]
    state: ModelState
    reason: str
    description: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    layers: tuple[LayerInfo, ...]
    checks: ModelChecks
    default_method: str
    device: str
    max_rows: int
    max_examples: int
    layout: LayoutInfo | None = None
