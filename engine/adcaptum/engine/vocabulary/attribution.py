"""Attributions: the results of methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from adcaptum.engine.rows.moments import magnitude


class ErrorKind(Enum):
    """The measure of an error."""

    NONE = "none"
    """The method gives no error."""
    COMPLETENESS = "completeness"
    """|sum of attributions - (output - baseline output)|."""
    STANDARD_ERROR = "standard error"
    """The largest standard error of an example's attributions."""


class StopReason(Enum):
    """The reason for which a method ended."""

    CONVERGED = "converged"
    BUDGET = "budget"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """The contribution of each element of the inputs, or of a layer's values, to the target.

    Attributes:
        values: For each input, or each tensor at the site: (examples, *features), in the input's
            dtype but at least float32.
        error: The error of the values, per example, (examples,), in the target's units.
        error_kind: The measure of the error.
        output: The target at the input, (examples,), if it was evaluated.
        baseline_output: The target at the baseline, (examples,), if it was evaluated.
        standard_errors: The standard error of each value, for methods that sample; else empty.
        rows_used: The number of evaluated rows; the driver counts them.
        stop_reason: The reason for which the method ended; the driver sets it.
        relative_error: The sum of the values' estimated errors, relative to the sum of their
            magnitudes, (examples,), if the explicand has a tolerance.
        pairs: Whether the values are of pairs of features instead of elements: one tensor,
            (examples, features, features), features in the order of the mask's numbers.
        uncovered_ops: The model's operations that the method's backward rule does not cover: they
            have their plain gradient, so that the values are not those of the method's paper.
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
    relative_error: Tensor | None = None
    uncovered_ops: tuple[str, ...] = ()

    def ended(self, rows_used: int, reason: StopReason) -> Attribution:
        """Returns the answer with what its driver knows, in a third of the time of `replace`."""
        return Attribution(
            self.values,
            self.error,
            self.error_kind,
            self.output,
            self.baseline_output,
            self.standard_errors,
            rows_used,
            reason,
            self.pairs,
            self.relative_error,
            self.uncovered_ops,
        )


def completeness_error(
    values: tuple[Tensor, ...], output: Tensor, baseline_output: Tensor
) -> Tensor:
    """|sum of an example's attributions - (output - baseline output)|, shape (examples,)."""
    total, *others = [v.reshape(v.shape[0], -1).sum(1) for v in values]
    for other in others:
        total = total + other
    return (total - (output - baseline_output)).abs()


def with_relative_error(answer: Attribution, wrong: Tensor, tolerance: float) -> Attribution:
    """Returns an answer with its relative error, and with the stop reason that this implies.

    Args:
        answer: The answer.
        wrong: The estimated sum of the errors' magnitudes, (examples,).
        tolerance: The bound of the relative error.
    """
    size = magnitude(answer.values)
    # An error of 0 stays 0, however small the values are. The relative error of infinite values, or
    # of NaN, is unknown.
    relative = torch.where(wrong == 0, 0, wrong / size).where(size.isfinite(), torch.nan)
    met = bool((relative <= tolerance).all())
    reason = StopReason.CONVERGED if met else StopReason.BUDGET
    return replace(answer, relative_error=relative, stop_reason=reason)


def joined(answers: Sequence[Attribution]) -> Attribution:
    """Joins the answers for single examples into one answer."""
    first = answers[0]
    return replace(
        first,
        values=_each(answers, lambda a: a.values),
        standard_errors=_each(answers, lambda a: a.standard_errors),
        error=_whole(answers, lambda a: a.error),
        output=_whole(answers, lambda a: a.output),
        baseline_output=_whole(answers, lambda a: a.baseline_output),
        relative_error=_whole(answers, lambda a: a.relative_error),
        stop_reason=max((a.stop_reason for a in answers), key=list(StopReason).index),
    )


def divided(answer: Attribution, counts: Sequence[int]) -> list[Attribution]:
    """Divides an answer for several examples; `joined` joins the parts again.

    Args:
        answer: The answer.
        counts: The number of examples of each part, in their order; in all, those of the answer.

    Returns:
        The parts. Their rows are shares in proportion to the examples, rounded up.
    """
    if len(counts) == 1:
        return [answer]
    total = sum(counts)
    absent = [None] * len(counts)

    def each(tensors: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        return list(zip(*[t.split(counts) for t in tensors], strict=True)) or [()] * len(counts)

    def of(tensor: Tensor | None) -> Sequence[Tensor | None]:
        return absent if tensor is None else tensor.split(counts)

    columns = zip(
        counts,
        each(answer.values),
        of(answer.error),
        of(answer.output),
        of(answer.baseline_output),
        each(answer.standard_errors),
        of(answer.relative_error),
        strict=True,
    )
    return [
        Attribution(
            values,
            error,
            answer.error_kind,
            output,
            baseline_output,
            errors,
            -(-answer.rows_used * count // total),
            answer.stop_reason,
            answer.pairs,
            relative,
            answer.uncovered_ops,
        )
        for count, values, error, output, baseline_output, errors, relative in columns
    ]


def _each(
    answers: Sequence[Attribution], of: Callable[[Attribution], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    return tuple(torch.cat(tensors) for tensors in zip(*map(of, answers), strict=True))


def _whole(
    answers: Sequence[Attribution], of: Callable[[Attribution], Tensor | None]
) -> Tensor | None:
    parts = [part for part in map(of, answers) if part is not None]
    return torch.cat(parts) if parts else None
