"""The explanation of one number of one example by one method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from adcaptum.client.method import Method
from adcaptum.client.results.rendering import renderer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class StopReason(StrEnum):
    """Reason for which an explanation, or a method, ended."""

    UNKNOWN = "unknown"
    COMPLETED = "completed"
    CONVERGED = "converged"
    BUDGET = "budget"
    DEADLINE = "deadline"
    EXHAUSTED = "exhausted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """Estimated error of an explanation; estimates that the method does not give are None.

    Attributes:
        completeness: |sum of the attributions - (output - baseline output)|, in units of the
            output.
        standard_error: Largest standard error of an attribution, in units of the output.
        relative: Estimated sum of the errors over the sum of the attributions' magnitudes, which a
            tolerance is compared with.
    """

    completeness: float | None = None
    standard_error: float | None = None
    relative: float | None = None


@dataclass(frozen=True, slots=True)
class MethodReport:
    """Facts of a method's run over all examples and targets of a request.

    Attributes:
        method: The method with every parameter, defaults included.
        rows_used: Number of rows evaluated for it; None in progress.
        stop_reason: The reason of the explanation that fell short the most.
        uncovered_ops: Operations of the model without a backward rule of the method: attributions
            may not add up. Usually empty.
        non_finite: Number of attributions that are NaN or infinite: they say nothing of their
            features. Usually 0.
    """

    method: Method
    rows_used: int | None = None
    stop_reason: StopReason = StopReason.UNKNOWN
    uncovered_ops: tuple[str, ...] = ()
    non_finite: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text.

    Attributes:
        text: The token as the tokenizer writes it.
        start: Offset of its first character in the text; -1 for added tokens.
        end: Offset behind its last character; -1 for added tokens.
    """

    text: str
    start: int
    end: int

    @property
    def added(self) -> bool:
        """True if the tokenizer added it: it is not in the text."""
        return self.start < 0


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Contributions of the elements of one input, or of one tensor at a layer.

    Arrays of a reply are read-only views of its bytes; copy them to write.

    Attributes:
        values: The contributions, without the batch: of the input's or layer's shape, for class
            activation maps (1, height, width), for texts (tokens,). With ``max_features``, one
            number per kept feature, largest magnitude first.
        standard_errors: Standard error of each number of ``values``; None for methods that do not
            sample.
        indices: With ``max_features``, the position of each kept feature in the flattened array of
            ``shape``; None without.
        shape: With ``max_features``, the shape before the others were left out; empty without.
        features: Names of the columns of a table, also of those that were left out; empty for
            others.
        units: Unit of each column; empty where none is known.
        tokens: For texts, the token of each number of ``values``; empty for others.
        name: Name of the input or layer.
        part: Position of the tensor at a layer with several tensors.
    """

    values: npt.NDArray[Any]
    standard_errors: npt.NDArray[Any] | None = None
    indices: npt.NDArray[Any] | None = None
    shape: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    name: str = ""
    part: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Contributions of pairs of features, over all inputs together.

    Attributes:
        features: Name of each feature; with ``max_features``, of the kept ones.
        values: Contributions of shape (features, features), symmetric; the diagonal has each
            feature alone.
        standard_errors: Standard error of each number of ``values``; None for methods that do not
            sample.
    """

    features: tuple[str, ...]
    values: npt.NDArray[Any]
    standard_errors: npt.NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The explanation of one number of one example by one method.

    Attributes:
        method: The method, with every parameter.
        example: Position of the example in the request.
        target: Position of the target in the request, with ``TopK`` and ``AllTargets`` spread out.
        index: Index of the explained output, without the batch; empty if each example has one
            output, and for neurons.
        label: Label of the explained output; empty if the model has none.
        attributions: Contributions by the name of the input or layer; of a layer with several
            tensors, by ``name[part]``. Empty for methods that give interactions.
        interactions: Contributions of pairs of features; None for other methods.
        output: The explained number; None if the method did not evaluate it.
        baseline_output: The same number at the baseline; None if the method did not evaluate it.
        error: Estimated error; None if nothing is known.
        stop_reason: Reason for which it ended; unknown in progress.
        report: Facts of the method's run.
        inputs: With ``return_inputs``, this example after preprocessing, by name of the input.
        output_name: With ``return_outputs``, the name of the explained number, such as ``price`` or
            ``scores[2]``, for outputs without labels.
    """

    method: Method
    example: int
    target: int
    index: tuple[int, ...]
    label: str
    attributions: Mapping[str, Attribution]
    interactions: Interactions | None = None
    output: float | None = None
    baseline_output: float | None = None
    error: ErrorEstimate | None = None
    stop_reason: StopReason = StopReason.UNKNOWN
    report: MethodReport | None = None
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    output_name: str = ""

    def plot(self, input: npt.NDArray[Any] | None = None) -> "Figure":  # noqa: A002 - the field's word
        """Draw the explanation: a heat map, coloured tokens, signed bars or a matrix.

        Args:
            input: The image to lay the heat map over, of shape (height, width), (height, width, 3)
                or (3, height, width); by default the one from ``return_inputs``.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        return renderer().figure([self], image=input)

    def save_png(self, path: str | Path) -> None:
        """Write the drawing as a PNG file.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        self.plot().savefig(path, format="png")

    def _repr_html_(self) -> str:
        return renderer().html(self)
