"""The explanation of one output for one example by one method."""

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


class ErrorKind(StrEnum):
    """Kind of the error of an explanation."""

    UNKNOWN = "unknown"
    COMPLETENESS = "completeness"
    STANDARD_ERROR = "standard_error"
    NONE = "none"


class StopReason(StrEnum):
    """Reason why a method stopped."""

    UNKNOWN = "unknown"
    CONVERGED = "converged"
    BUDGET = "budget"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class ExplanationError:
    """Error of an explanation.

    Attributes:
        kind: The meaning of value: completeness is |sum of attributions - (output - baseline
            output)|, standard_error is the largest standard error of any attribution; none means
            that only relative is given.
        value: The error in units of the output; NaN where kind is none.
        relative: The estimated sum of the errors over the sum of the attributions' magnitudes,
            to compare with the tolerance; None without a tolerance.
    """

    kind: ErrorKind
    value: float
    relative: float | None = None


@dataclass(frozen=True, slots=True)
class MethodReport:
    """Cost of a method in a request, and its resolved parameters.

    Attributes:
        method: The method with every parameter, defaults included.
        rows_used: Number of rows evaluated for all examples and targets together.
        stop_reason: The reason why it stopped.
        uncovered_ops: Operations of the model without a backward rule of the method: the
            attributions may not add up. Usually empty.
        non_finite: Number of attributions that are NaN or infinite: they say nothing of their
            features. Usually 0.
    """

    method: Method
    rows_used: int
    stop_reason: StopReason
    uncovered_ops: tuple[str, ...] = ()
    non_finite: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text.

    Attributes:
        text: The token as the tokeniser writes it.
        start: Its first character's offset in the text; -1 for added tokens.
        end: The offset after its last character; -1 for added tokens.
    """

    text: str
    start: int
    end: int

    @property
    def added(self) -> bool:
        """True if the tokeniser added it: it is not in the text."""
        return self.start < 0


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a tabular input.

    Attributes:
        name: Its name.
        unit: Its unit; empty if unknown or without one.
    """

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Contributions of the elements of one input or layer.

    Attributes:
        values: The attributions, without the batch: of the input's or layer's shape, for class
            activation maps (1, height, width), for pairs (features, features). With
            ``top_features``, one number per kept feature, of shape (kept,).
        indices: With ``top_features``, the flat index of each kept feature; None without.
        standard_errors: The standard error of each attribution, of values' shape; None for
            methods that do not sample.
        tokens: For texts, the token of each attribution; empty otherwise.
        features: For tabular inputs, all features of the input, where the client knows them; for
            pairs, the features of the rows and columns of values.
        pairs: The values belong to pairs of features instead of elements; the diagonal belongs to
            each feature alone.
    """

    values: npt.NDArray[Any]
    indices: npt.NDArray[Any] | None = None
    standard_errors: npt.NDArray[Any] | None = None
    tokens: tuple[Token, ...] = ()
    features: tuple[Feature, ...] = ()
    pairs: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The explanation of one output for one example by one method.

    Attributes:
        method: The method's name.
        example: The example's index in the request.
        target: The explained output's index, without the batch; empty if each example has one.
        label: The explained output's label; empty if the model declares none.
        attributions: The contributions, by the name of the input or layer.
        output: The explained output; None if the method did not evaluate it.
        baseline_output: The same output at the baseline; None if the method did not evaluate it.
        error: The error of the attributions; None if the method gives none.
        report: The cost of the method; None in partial results.
        inputs: With ``return_inputs``, this example after preprocessing, by name of the input.
        output_name: The name of the explained number, such as ``price`` or ``scores[2]``, for
            outputs without labels; empty if the client does not know it.
    """

    method: str
    example: int
    target: tuple[int, ...]
    label: str
    attributions: Mapping[str, Attribution]
    output: float | None = None
    baseline_output: float | None = None
    error: ExplanationError | None = None
    report: MethodReport | None = None
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    output_name: str = ""

    def plot(self, input: npt.NDArray[Any] | None = None) -> "Figure":  # noqa: A002 - the field's word
        """Draw the explanation: a heat map, coloured tokens or signed bars.

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
