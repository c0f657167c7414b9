"""How far arrangements of a model are from it, and how fast they are."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from math import inf, isnan
from time import perf_counter
from typing import Final, NamedTuple

from torch import Tensor, nn

from adcaptum.engine.execution.clock import batch_clock
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.service.models.checks import Checks, example_batch
from adcaptum.service.models.loading import LoadedModel

TRIAL_SECONDS: Final = 0.2
"""How long all arrangements are tried, together."""

FEWEST_ROUNDS: Final = 2
MOST_ROWS: Final = 32


class Distance(NamedTuple):
    """How far one evaluation is from another: sums of differences, relative to the magnitudes."""

    outputs: float
    gradients: float

    def within(self, outputs: float, gradients: float) -> bool:
        """Whether neither is further off."""
        return self.outputs <= outputs and self.gradients <= gradients


NOTHING: Final = Distance(0.0, 0.0)


def widened(model: LoadedModel) -> LoadedModel:
    """The model and its examples in float64."""
    module = copy.deepcopy(model.module).double()
    examples = tuple(t.double() if t.is_floating_point() else t for t in model.examples)
    return replace(model, module=module, examples=examples)


def batches(model: LoadedModel, checks: Checks, rows: int) -> list[RowRange]:
    """What an arrangement is tried on: gradients of a layer's values are not for it."""
    kinds = [False, True] if checks.differentiable else [False]
    made = [example_batch(model, checks, rows, gradient=kind) for kind in kinds]
    return [batch for batch in made if batch.evaluation.at_ends]


def distance(expected: LoadedModel, found: LoadedModel, checks: Checks) -> Distance:
    """How far a model is from another, each at its own examples."""
    values: list[float] = []
    gradients: list[float] = []
    rows = len(expected.examples[0])
    for batch, same in zip(
        batches(expected, checks, rows), batches(found, checks, rows), strict=True
    ):
        (right,) = evaluate(expected.module, [batch])
        (made,) = evaluate(found.module, [same])
        values.append(_difference(right.values, made.values))
        gradients += map(_difference, right.gradients, made.gradients)
    return Distance(max(values), max(gradients, default=0.0))


def rates(
    model: LoadedModel, checks: Checks, modules: Mapping[str, nn.Module], target_seconds: float
) -> dict[str, float]:
    """Rows per second of each, in turns: what else the machine does is the same for all.

    Args:
        model: The model.
        checks: What was found out about it.
        modules: Arrangements of it, by name.
        target_seconds: How long a batch may take.
    """
    usual = trial_batches(model, checks, target_seconds)
    rows = len(usual[0])
    best = {name: seconds(module, usual) for name, module in modules.items()}
    begin, rounds = perf_counter(), 0
    while rounds < FEWEST_ROUNDS or perf_counter() - begin < TRIAL_SECONDS:
        for name, module in modules.items():
            best[name] = min(best[name], seconds(module, usual))
        rounds += 1
    return {name: rows / each for name, each in best.items()}


def trial_batches(model: LoadedModel, checks: Checks, target_seconds: float) -> list[RowRange]:
    """Batches of as many rows as a model, as it was loaded, evaluates in the time of one."""
    single = batches(model, checks, 1)
    alone = min(seconds(model.module, single) for _ in range(2))
    rows = 1
    while 2 * rows <= MOST_ROWS and 2 * rows * alone <= target_seconds:
        rows *= 2
    return batches(model, checks, rows)


def seconds(module: nn.Module, made: list[RowRange]) -> float:
    """What batches cost, one after another."""
    clock = batch_clock(made[0].evaluation.rows.like[0].device)
    begin = clock()
    for batch in made:
        evaluate(module, [batch])
    return clock() - begin


def _difference(expected: Tensor, found: Tensor) -> float:
    difference = (found.double() - expected.double()).abs().sum()
    ratio = (difference / expected.double().abs().sum().clamp(min=1e-12)).item()
    # Of what is not a number nothing is known.
    return inf if isnan(ratio) else ratio
