"""Comparisons of rows with reference rows under a rule, as in DeepLIFT."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument, UncoveredOperations
from adcaptum.engine.rows.reduce import WeightedSum, widened
from adcaptum.engine.rows.sources import Repeated, some
from adcaptum.engine.rules.interception import Rule
from adcaptum.engine.vocabulary.arguments import PerExample
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Patch, Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.references import References

# The completeness error, as a share of the output's difference, from which on it is reported.
_INCOMPLETE = 0.01


def compared_with_baselines(explicand: Explicand, rule: Rule, *, multiply: bool) -> Evaluation:
    """Makes the evaluation that compares each example with its baseline, or the one of all."""
    _check(explicand)
    baselines = explicand.paired_baselines()
    if explicand.baselines is None or all(t.shape[0] == 1 for t in explicand.baselines):
        # One row serves all examples.
        baselines = tuple([some(t, 0, 1) for t in baselines])
        index = torch.zeros(explicand.count, dtype=torch.int64)
    else:
        index = torch.arange(explicand.count)
    references = References(baselines, index, multiply)
    return explicand.at_inputs(gradient=True, rule=rule, references=references)


def compared_with_background(explicand: Explicand, rule: Rule, *, multiply: bool) -> Evaluation:
    """Makes the evaluation of each example against every row of a background, averaged."""
    _check(explicand)
    background = _background(explicand)
    each = len(background[0])
    references = References(background, torch.arange(each).repeat(explicand.count), multiply)
    patch = None
    if explicand.values is not None:
        patch = Patch(explicand.at, Repeated(explicand.values, each))
    return replace(
        explicand.at_inputs(gradient=True),
        rows=Repeated(explicand.inputs, each),
        patch=patch,
        reduce=WeightedSum(torch.full((each,), 1 / each, dtype=torch.float64)),
        rule=rule,
        references=references,
    )


def compared_rows(explicand: Explicand, each: int) -> int:
    """Returns the rows of a comparison: examples times baselines of each, plus the baselines."""
    given = max((len(t) for t in explicand.baselines or ()), default=1)
    if any(isinstance(a, PerExample) for a in explicand.arguments.values):
        # The model's values at a baseline depend on the example's further arguments.
        alike = None if each == 1 < given else explicand.arguments.alike
        distinct = explicand.count if alike is None else len(alike.unique())
        return (explicand.count + distinct) * each
    return explicand.count * each + given


def difference_attribution(
    reading: Reading, count: int, *, multiply: bool, strict: bool
) -> Attribution:
    """Makes the attribution of a comparison.

    Args:
        reading: The reading of examples times baselines of each.
        count: The number of examples.
        multiply: Whether the gradients are contributions, which have to add up.
        strict: Whether to refuse operations that the rule does not cover.

    Raises:
        UncoveredOperations: If strict, and there are such operations.
    """
    if strict and reading.uncovered_ops:
        raise UncoveredOperations(reading.uncovered_ops)
    assert reading.reference_values is not None, "rows were compared"
    values = widened(reading.gradients)
    output = reading.values
    (baseline_output,) = widened((reading.reference_values,))
    if output.shape[0] > count:
        output = output.view(count, -1)[:, 0]
        baseline_output = baseline_output.view(count, -1).mean(1)
    error: Tensor | None = None
    if multiply:
        error = completeness_error(values, *widened((output, baseline_output)))
    return Attribution(
        values,
        output,
        baseline_output,
        error,
        uncovered_ops=reading.uncovered_ops,
    )


def incomplete(answer: Attribution, explicand: Explicand) -> Tensor | None:
    """Returns the relative errors of attributions that do not add up, beyond rounding.

    At a layer they need not add up: the target may depend on the inputs by other paths, too.

    Args:
        answer: The answer of `difference_attribution`.
        explicand: Its explicand.

    Returns:
        The error relative to the output's difference, (examples,), 0 for examples whose error is
        at most a hundredth of the difference, or rounding; None if all are such.
    """
    if answer.completeness_error is None or explicand.at != INPUT:
        return None
    assert answer.output is not None, "rows were compared"
    assert answer.baseline_output is not None, "rows were compared"
    assert answer.completeness_error is not None, "rows were compared"
    difference = answer.output - answer.baseline_output
    if bool((answer.completeness_error <= difference.abs() * _INCOMPLETE).all()):
        return None
    error, difference = answer.completeness_error.double(), difference.double()
    size = sum(v.double().abs().flatten(1).sum(1) for v in answer.values)
    relative = error / difference.abs()
    rounding = size * torch.finfo(answer.output.dtype).eps ** 0.5
    # A NaN error is neither.
    wrong = ~((relative <= _INCOMPLETE) | (error <= rounding))
    return torch.where(wrong, relative, 0) if bool(wrong.any()) else None


def _background(explicand: Explicand) -> tuple[Tensor, ...]:
    if explicand.baselines is None:
        return tuple(torch.zeros_like(t[:1]) for t in explicand.inputs)
    rows = max(map(len, explicand.baselines))
    if any(len(t) not in {1, rows} for t in explicand.baselines):
        raise InvalidArgument(
            "baselines",
            f"of {sorted({len(t) for t in explicand.baselines})} rows",
            "as many rows for every input",
        )
    return tuple(t.expand(rows, *t.shape[1:]) for t in explicand.baselines)


def _check(explicand: Explicand) -> None:
    if explicand.starts is not None:
        raise InvalidArgument(
            "layer_baselines",
            "given",
            "differences at a layer are those that the baselines of the inputs make there",
        )
