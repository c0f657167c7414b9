"""Descriptions of served models."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from adcaptum.client.spec import Spec


class ModelState(StrEnum):
    """State of a version of a model."""

    UNKNOWN = "unknown"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    QUARANTINED = "quarantined"


class InputKind(StrEnum):
    """Kind of data of an input."""

    UNKNOWN = "unknown"
    TENSOR = "tensor"
    TABULAR = "tabular"
    IMAGE = "image"
    TEXT = "text"


class OutputKind(StrEnum):
    """Meaning of the numbers of an output."""

    UNKNOWN = "unknown"
    VALUES = "values"
    LOGITS = "logits"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of the weights that answered.

    Attributes:
        name: Name of the model.
        version: Name of the version.
        digest: BLAKE2b digest of the model's declaration, code and weights, hexadecimal.
    """

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """A column of a tabular input; facts of the background set are None without one.

    Attributes:
        name: The name.
        unit: Unit of measurement; empty if unknown or without one.
        minimum: Smallest value in the background set.
        maximum: Largest value in the background set.
        mean: Mean over the background set.
        standard_deviation: Standard deviation over the background set.
        categories: Names of the values 0, 1, ... of a categorical column; empty for numbers.
    """

    name: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputInfo:
    """An input of a model.

    Attributes:
        name: Name in requests.
        kind: Kind of data.
        datatype: Datatype that the model computes with, such as FP32.
        accepted_datatypes: Datatypes that requests may send.
        shape: Length of each dimension, the batch first; -1 for any length.
        features: Columns of a tabular input, in order; empty where the owner named none.
        default_baseline: Baseline of requests that give none: one of ``baselines``, or a number.
        baselines: Named baselines.
        background_rows: Rows of the background set; 0 without one.
        embedding_layer: Layer at whose output an integer input is explained; empty: at the input.
    """

    name: str
    kind: InputKind
    datatype: str
    accepted_datatypes: tuple[str, ...]
    shape: tuple[int, ...]
    features: tuple[FeatureInfo, ...]
    default_baseline: str
    baselines: tuple[str, ...]
    background_rows: int
    embedding_layer: str


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """An output of a model.

    Attributes:
        name: The name.
        kind: Meaning of the numbers.
        datatype: The datatype, such as FP32.
        shape: Length of each dimension, the batch first; -1 for any length.
        labels: Names of the classes, in order; empty where the owner named none.
    """

    name: str
    kind: OutputKind
    datatype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer that can be explained.

    Attributes:
        name: Qualified name of the module.
        alias: Second name that the owner declares; empty if none.
        type: Class of the module.
        shape: Shape of its output for one example, without the batch; empty if the output has no
            floating-point numbers.
    """

    name: str
    alias: str
    type: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelChecks:
    """Facts that were measured when the version was loaded.

    Attributes:
        independent: The output of a row does not depend on the rows beside it.
        differentiable: Gradients of the output reach the inputs, or their embedding.
    """

    independent: bool
    differentiable: bool


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Bounds of requests.

    Attributes:
        max_rows: Most rows of one explanation request.
        max_examples: Most examples of one request.
    """

    max_rows: int
    max_examples: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A version of a model on a worker.

    Attributes:
        worker: Id of the worker.
        device: The device, as PyTorch names it.
        state: The state on this worker.
        reason: The reason for the state; empty while ready.
        variant: Changes to the weights' arrangement for speed; "as loaded" without any.
    """

    worker: str
    device: str
    state: ModelState
    reason: str
    variant: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A named question that the model's owner declares.

    Attributes:
        name: The name, for the option ``preset``.
        description: The purpose, for people.
        spec: The question.
    """

    name: str
    description: str
    spec: Spec = field(compare=False)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version of a model.

    Attributes:
        identity: Name, version and digest.
        state: State of the placement that serves best.
        reason: The reason for the state; empty while ready.
        load_time: Time at which it became ready; None before.
        inputs: Its inputs, in the order of the model's forward method.
        outputs: Its outputs; the first is explained.
        layers: Its layers; only ``Client.model`` fills them.
        checks: Facts measured at load; None until it is ready.
        limits: Bounds of requests.
        placements: Workers that have it.
        presets: Named questions.
        default_preset: The preset of requests that name none.
        load_failure: The reason why the last try to load it anew failed, while what was loaded
            before serves; empty if it did not fail.
        accuracy: Accuracy on held-out data from 0 to 1; None if unknown.
    """

    identity: ModelIdentity
    state: ModelState
    reason: str
    load_time: datetime | None
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    layers: tuple[LayerInfo, ...]
    checks: ModelChecks | None
    limits: ModelLimits
    placements: tuple[Placement, ...]
    presets: tuple[Preset, ...]
    default_preset: str
    load_failure: str
    accuracy: float | None

    def preset(self, name: str | None = None) -> Preset:
        """Return a preset by its name; by default the default one.

        Raises:
            LookupError: There is none of this name.
        """
        wanted = name or self.default_preset
        for each in self.presets:
            if each.name == wanted:
                return each
        raise LookupError(f"there is no preset {wanted!r}")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A served model and its versions.

    Attributes:
        name: The name.
        description: The purpose, for people.
        default_version: The version of requests that name none; empty until the repository entry
            is read.
        aliases: Version by alias.
        versions: The versions, in order; the chosen one only, where a version or an alias was
            asked for.
        message: The description as it came: a ``Model`` of the protocol.
    """

    name: str
    description: str
    default_version: str
    aliases: Mapping[str, str]
    versions: tuple[VersionInfo, ...]
    message: Any = field(default=None, repr=False, compare=False)

    @property
    def default(self) -> VersionInfo:
        """The default version; the chosen one, where a version or an alias was asked for.

        Raises:
            LookupError: No version is described.
        """
        for version in self.versions:
            if version.identity.version == self.default_version:
                return version
        if not self.versions:
            raise LookupError(f"the model {self.name!r} has no version")
        return self.versions[0]
