"""Attributions: the results of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from adcaptum.engine.rows.moments import magnitude


class StopReason(Enum):
    """The reason for which an explanation ended; later ones in this order fell shorter."""

    COMPLETED = "completed"
    """It took all its steps or samples."""
    CONVERGED = "converged"
    """It met the tolerance."""
    EXHAUSTED = "exhausted"
    """It has nothing finer to evaluate, though the tolerance is not met."""
    BUDGET = "budget"
    """It reached the bound of rows."""
    DEADLINE = "deadline"
    """It reached the deadline."""
    UNFINISHED = "unfinished"
    """It has not ended: an answer that a method reports on its way."""

    # Members are singletons, and Enum's own hash is a call of Python's.
    __hash__ = object.__hash__


_ORDER = {reason: place for place, reason in enumerate(StopReason)}


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """The contribution of each element of the inputs, or of a layer's values, to the target.

    Attributes:
        values: For each input, or each tensor at the site: (examples, *features), in the input's
            dtype but at least float32.
        output: The target at the input, (examples,), if it was evaluated.
        baseline_output: The target at the baseline, (examples,), if it was evaluated.
        completeness_error: |sum of attributions - (output - baseline output)|, (examples,), in the
            target's units, for methods whose attributions sum to that difference, if both outputs
            were evaluated.
        standard_error: The largest standard error of an example's attributions, (examples,), in the
            target's units, for methods that sample.
        standard_errors: The standard error of each value, for methods that sample; else empty.
        relative_error: The sum of the values' estimated errors, relative to the sum of their
            magnitudes, (examples,), if the explicand has a tolerance.
        rows_used: The number of evaluated rows; the driver counts them.
        stop_reason: The reason for which the method ended: that of the example that fell short
            the most.
        stop_reasons: The reason of each example, where they differ; else empty.
        pairs: Whether the values are of pairs of features instead of elements: one tensor,
            (examples, features, features), features in the order of the mask's numbers.
        uncovered_ops: The model's operations that the method's backward rule does not cover: they
            have their plain gradient, so that the values are not those of the method's paper.
    """

    values: tuple[Tensor, ...]
    output: Tensor | None = None
    baseline_output: Tensor | None = None
    completeness_error: Tensor | None = None
    standard_error: Tensor | None = None
    standard_errors: tuple[Tensor, ...] = ()
    relative_error: Tensor | None = None
    rows_used: int = 0
    stop_reason: StopReason = StopReason.COMPLETED
    stop_reasons: tuple[StopReason, ...] = ()
    pairs: bool = False
    uncovered_ops: tuple[str, ...] = ()

    def reason(self, example: int) -> StopReason:
        """Returns the reason for which the explanation of one example ended."""
        return self.stop_reasons[example] if self.stop_reasons else self.stop_reason

    def with_rows(self, rows_used: int) -> Attribution:
        """Returns the answer with its number of rows, in a third of the time of `replace`."""
        return Attribution(
            self.values,
            self.output,
            self.baseline_output,
            self.completeness_error,
            self.standard_error,
            self.standard_errors,
            self.relative_error,
            rows_used,
            self.stop_reason,
            self.stop_reasons,
            self.pairs,
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
    """Returns an answer with its relative error, and with the stop reasons that this implies.

    Examples that do not meet the tolerance have EXHAUSTED: nothing comes after this answer, unless
    it is reported on the way.

    Args:
        answer: The answer.
        wrong: The estimated sum of the errors' magnitudes, (examples,).
        tolerance: The bound of the relative error.
    """
    size = magnitude(answer.values)
    # An error of 0 stays 0, however small the values are. The relative error of infinite values, or
    # of NaN, is unknown.
    relative = torch.where(wrong == 0, 0, wrong / size).where(size.isfinite(), torch.nan)
    reasons = [
        StopReason.CONVERGED if met else StopReason.EXHAUSTED
        for met in (relative <= tolerance).tolist()
    ]
    return with_stop_reasons(replace(answer, relative_error=relative), reasons)


def with_stop_reasons(answer: Attribution, reasons: Sequence[StopReason]) -> Attribution:
    """Returns an answer with the stop reason of each example."""
    differ = len(set(reasons)) > 1
    return replace(
        answer,
        stop_reason=furthest_short(reasons),
        stop_reasons=tuple(reasons) if differ else (),
    )


def furthest_short(reasons: Iterable[StopReason]) -> StopReason:
    """Returns the stop reason of the explanation that fell short the most."""
    return max(reasons, key=_ORDER.__getitem__, default=StopReason.COMPLETED)


def unfinished(answer: Attribution) -> Attribution:
    """Returns an answer as one that may still improve, except for examples that converged."""
    if not answer.stop_reasons and answer.stop_reason is not StopReason.CONVERGED:
        return replace(answer, stop_reason=StopReason.UNFINISHED)
    kept = [
        reason if reason is StopReason.CONVERGED else StopReason.UNFINISHED
        for reason in _reasons(answer)
    ]
    return with_stop_reasons(answer, kept)


def ended(answer: Attribution, reason: StopReason) -> Attribution:
    """Returns an answer of which the examples that were unfinished ended for a reason."""
    if not answer.stop_reasons:
        alive = answer.stop_reason is StopReason.UNFINISHED
        return replace(answer, stop_reason=reason) if alive else answer
    reasons = [reason if own is StopReason.UNFINISHED else own for own in answer.stop_reasons]
    return with_stop_reasons(answer, reasons)


def joined(answers: Sequence[Attribution]) -> Attribution:
    """Joins the answers for single examples into one answer."""
    whole = replace(
        answers[0],
        values=_each(answers, lambda a: a.values),
        output=_whole(answers, lambda a: a.output),
        baseline_output=_whole(answers, lambda a: a.baseline_output),
        completeness_error=_whole(answers, lambda a: a.completeness_error),
        standard_error=_whole(answers, lambda a: a.standard_error),
        standard_errors=_each(answers, lambda a: a.standard_errors),
        relative_error=_whole(answers, lambda a: a.relative_error),
        uncovered_ops=tuple(sorted({op for a in answers for op in a.uncovered_ops})),
    )
    return with_stop_reasons(whole, [reason for a in answers for reason in _reasons(a)])


def _reasons(answer: Attribution) -> tuple[StopReason, ...]:
    return answer.stop_reasons or (answer.stop_reason,) * len(answer.values[0])


def _each(
    answers: Sequence[Attribution], of: Callable[[Attribution], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    return tuple(torch.cat(tensors) for tensors in zip(*map(of, answers), strict=True))


def _whole(
    answers: Sequence[Attribution], of: Callable[[Attribution], Tensor | None]
) -> Tensor | None:
    parts = [part for part in map(of, answers) if part is not None]
    return torch.cat(parts) if parts else None
