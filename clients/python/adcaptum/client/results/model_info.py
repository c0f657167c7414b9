"""What is known of a served model."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Exactly which weights answered.

    Attributes:
        name: The model's name.
        version: The version that answered.
        digest: Hexadecimal BLAKE2b digest of the model's declaration and weights.
    """

    name: str
    version: str
    digest: str


class ModelState(StrEnum):
    """Where a model is on its way to serving."""

    UNKNOWN = "unknown"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class InputInfo:
    """An input of a model.

    Attributes:
        name: The name by which requests refer to it.
        datatype: What the model computes with, such as FP32.
        shape: The shape, batch first; -1 stands for any length.
        kind: image, text, tabular or tensor.
        features: The name of each feature of a tabular input.
        units: The unit of each feature of a tabular input; empty where unknown.
        default_baseline: The baseline that is used where a request gives none.
        baselines: The named baselines.
        background_rows: How many rows ``Samples`` can draw from.
        embedding: The layer at whose output an integer input is explained; empty if it is
            explained directly.
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
    """A place inside a model at which it can be explained.

    Attributes:
        name: The qualified name of the module.
        alias: A readable name; empty if the model declares none.
        type: The class of the module.
        shape: The shape of what it gives for one example, without the batch; empty where it gives
            no floating-point numbers.
    """

    name: str
    alias: str
    type: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelChecks:
    """What was found out about a model when it was loaded.

    Attributes:
        independent: Whether a row's answer does not depend on the rows beside it.
        differentiable: Whether gradients of the output reach the inputs.
        accuracy: Held-out accuracy from 0 to 1; None if it was not measured.
    """

    independent: bool
    differentiable: bool
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LayoutInfo:
    """How a model's weights are arranged for evaluations of its inputs and outputs.

    Distances are sums of differences, relative to the sum of the magnitudes, at the examples that
    the model was checked with.

    Attributes:
        name: In words: as loaded, or what was done.
        output_distance: How far its outputs are from those of the model as it was loaded.
        gradient_distance: The same of its gradients.
        own_output_rounding: How far the outputs of the model as it was loaded are from those in
            float64; 0 where nothing was tried.
        own_gradient_rounding: The same of its gradients.
        rows_per_second: Of each arrangement that was tried, by name.
        failures: Why others were not tried, or not taken whatever their speed, by name.
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
    """A served model and all that a caller needs to know to use it.

    Attributes:
        identity: The default version.
        versions: All versions that are served.
        aliases: Alias to version.
        state: Whether it serves.
        reason: Why it does not; empty if it does.
        description: What it is, for people.
        inputs: Its inputs, in the order of the forward method.
        outputs: Its outputs; the first is the one explained.
        layers: The places inside it; only ``Client.model`` fills them.
        checks: What was found out when it was loaded.
        default_method: The method that is used where a request names none.
        device: The device it runs on.
        max_rows: The largest number of rows that one explanation may use.
        max_examples: The largest number of examples in one request.
        layout: How it is arranged for speed; None if it does not serve yet.
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
