"""What every method returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import Tensor


class ErrorKind(Enum):
    """What an error measures."""

    NONE = "none"
    """The method gives no error."""
    COMPLETENESS = "completeness"
    """|sum of attributions - (output - baseline output)|."""
    STANDARD_ERROR = "standard error"
    """The largest standard error of an example's attributions."""


class StopReason(Enum):
    """Why a method ended."""

    CONVERGED = "converged"
    BUDGET = "budget"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """What each element of the inputs, or of a layer's values, contributed to the target.

    Attributes:
        values: For each input, or each tensor at the site: (examples, *features), in the input's
            dtype but at least float32.
        error: How far the values may be off, per example, (examples,), in the target's units.
        error_kind: What the error measures.
        output: The target at the input, (examples,), if it was evaluated.
        baseline_output: The target at the baseline, (examples,), if it was evaluated.
        standard_errors: Of each value, for methods that sample; else empty.
        rows_used: How many rows were evaluated; the driver counts them.
        stop_reason: Why the method ended; the driver knows.
        pairs: Whether the values are of pairs of features instead of elements: one tensor,
            (examples, features, features), features in the order of the mask's numbers.
        uncovered_ops: The model's operations for which the method's backward rule has nothing to
            say: they have their plain gradient, so that the values are not what the method means.
    """

    values: tuple[Tensor, ...]
    error: Tensor | None = None
    error_kind: ErrorKind = ErrorKind.NONE
    output: Tensor | None = None
    baseline_output: Tensor | None = None
    standard_errors: tuple[Tensor, ...] = ()
    rows_used: int = 0
    stop_reason: StopReason = StopReason.CONVERGED
    pairs: bool = False
    uncovered_ops: tuple[str, ...] = ()


def completeness_error(
    values: tuple[Tensor, ...], output: Tensor, baseline_output: Tensor
) -> Tensor:
    """|sum of an example's attributions - (output - baseline output)|, shape (examples,)."""
    flats = (v.reshape(len(v), -1) for v in values)
    total = sum((flat.sum(1) for flat in flats), start=output.new_zeros(len(output)))
    return (total - (output - baseline_output)).abs()
