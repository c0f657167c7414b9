"""Why a model gave one output for one example, according to one method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from adcaptum.client.method import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ErrorKind(StrEnum):
    """What the error of an explanation measures."""

    UNKNOWN = "unknown"
    COMPLETENESS = "completeness"
    STANDARD_ERROR = "standard_error"
    NONE = "none"


class StopReason(StrEnum):
    """Why a method ended."""

    UNKNOWN = "unknown"
    CONVERGED = "converged"
    BUDGET = "budget"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class ExplanationError:
    """How far an explanation may be off.

    Attributes:
        kind: What value measures: completeness is |sum of attributions - (output - baseline
            output)|, the standard error is the largest one of any attribution; none where there
            is nothing but relative.
        value: The error, in units of the output; not a number where kind is none.
        relative: The estimated sum of the errors over the sum of the attributions' magnitudes,
            which a tolerance is compared with; None without one.
    """

    kind: ErrorKind
    value: float
    relative: float | None = None


@dataclass(frozen=True, slots=True)
class MethodReport:
    """What a method cost in a request and how to run it again.

    Attributes:
        method: The method with every parameter, defaults included.
        rows_used: How many rows were evaluated, for all examples and targets together.
        stop_reason: Why it ended.
        uncovered_ops: The model's operations for which the method's backward rule says nothing:
            the attributions may not add up. Empty if there are none.
    """

    method: Method
    rows_used: int
    stop_reason: StopReason
    uncovered_ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text.

    Attributes:
        text: The token as the tokeniser writes it.
        start: Where it begins in the text, in characters; -1 for added tokens.
        end: Where it ends in the text, in characters; -1 for added tokens.
    """

    text: str
    start: int
    end: int

    @property
    def added(self) -> bool:
        """Whether the tokeniser added it: it is not in the text."""
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
    """What each element of one input, or of a layer, contributed.

    Attributes:
        values: The attributions, without the batch: of the input's or layer's shape, for class
            activation maps (1, height, width), for pairs (features, features). With
            ``top_features``, one number per kept feature, of shape (kept,).
        indices: With ``top_features``, the flat index of each kept feature; None without.
        standard_errors: The standard error of each attribution, of values' shape; None for
            methods that do not sample.
        tokens: For texts, the token of each attribution; empty otherwise.
        features: For tabular inputs, all features of the input, where the client knows them; for
            pairs, those that the rows and columns of values are of.
        pairs: Whether values are of pairs of features instead of elements; the diagonal is each
            feature alone.
    """

    values: npt.NDArray[Any]
    indices: npt.NDArray[Any] | None = None
    standard_errors: npt.NDArray[Any] | None = None
    tokens: tuple[Token, ...] = ()
    features: tuple[Feature, ...] = ()
    pairs: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why the model gave one output for one example, according to one method.

    Attributes:
        method: The method's name.
        example: The example's index in the request.
        target: The explained output's index, without the batch; empty if each example has one.
        label: The explained output's label; empty if the model declares none.
        attributions: What each input contributed, by the name of the input or layer.
        output: The explained output; None if the method did not evaluate it.
        baseline_output: The same output at the baseline; None if the method did not evaluate it.
        error: How far the attributions may be off; None if the method gives no error.
        report: What the method cost; None in partial results.
        inputs: With ``return_inputs``, this example as the model saw it, by name of the input.
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

    def plot(self, input: npt.NDArray[Any] | None = None) -> "Figure":  # noqa: A002 - the field's word
        """Draw the explanation: a heat map, coloured tokens or signed bars.

        Args:
            input: The image to lay the heat map over, of shape (height, width), (height, width, 3)
                or (3, height, width); by default the one that ``return_inputs`` brought.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        from adcaptum.client.drawing.png import draw  # noqa: PLC0415 - matplotlib is optional

        return draw([self], image=input)

    def save_png(self, path: str | Path) -> None:
        """Write the drawing as a PNG file.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        self.plot().savefig(path, format="png")

    def _repr_html_(self) -> str:
        from adcaptum.client.drawing.html import explanation_html  # noqa: PLC0415 - drawing knows results

        return explanation_html(self)
