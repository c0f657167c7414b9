"""Distances of variants from their model, and their speed."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, isnan
from time import perf_counter
from types import MappingProxyType
from typing import Final, NamedTuple

from torch import Tensor, nn

from adcaptum.engine.execution.devices.clock import batch_clock
from adcaptum.engine.execution.packing import RowRange
from adcaptum.service.device.float32 import evaluate
from adcaptum.service.models.checks import Checks, example_batch
from adcaptum.service.models.loading import LoadedModel

TRIAL_SECONDS: Final = 0.2
"""Seconds of trials of all variants together, at least."""

FEWEST_ROUNDS: Final = 2
MOST_ROWS: Final = 32


class Distance(NamedTuple):
    """Sums of absolute differences, relative to the sums of magnitudes.

    Attributes:
        outputs: Of the outputs.
        gradients: Of the gradients of the first output with respect to the inputs.
    """

    outputs: float
    gradients: float

    def within(self, outputs: float, gradients: float) -> bool:
        """Returns whether neither distance exceeds its bound."""
        return self.outputs <= outputs and self.gradients <= gradients


SAME: Final = Distance(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class TrialReport:
    """The comparison of a model's variants.

    Attributes:
        rounding: The distance of the model from itself in float64, at the examples.
        rows_per_second: Of each variant that was tried, by name: each row once without and once
            with gradients, as far as the model has them. Empty where nothing was tried.
        failures: Why other variants were refused, by name.
    """

    rounding: Distance = SAME
    rows_per_second: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def widened(model: LoadedModel) -> LoadedModel:
    """Returns the model and its examples in float64."""
    module = copy.deepcopy(model.module).double()
    examples = tuple(t.double() if t.is_floating_point() else t for t in model.examples)
    return replace(model, module=module, examples=examples)


def batches(model: LoadedModel, checks: Checks, rows: int) -> list[RowRange]:
    """Returns trial batches without and with gradients; not those with gradients at a layer."""
    kinds = [False, True] if checks.differentiable else [False]
    made = [example_batch(model, checks, rows, gradient=kind) for kind in kinds]
    return [batch for batch in made if batch.evaluation.at_ends]


def distance(expected: LoadedModel, found: LoadedModel, checks: Checks) -> Distance:
    """Returns the distance of a model from another, each at its own examples."""
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
    """Returns rows per second of each module, measured in turns so that other load hits all alike.

    Args:
        model: The model.
        checks: The facts found about it.
        modules: Variants of it, by name.
        target_seconds: The longest that a batch may take.
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
    """Returns batches of as many rows as the model as loaded evaluates within the target time."""
    single = batches(model, checks, 1)
    alone = min(seconds(model.module, single) for _ in range(2))
    rows = 1
    while 2 * rows <= MOST_ROWS and 2 * rows * alone <= target_seconds:
        rows *= 2
    return batches(model, checks, rows)


def seconds(module: nn.Module, made: list[RowRange]) -> float:
    """Returns the seconds that batches take, one after another."""
    clock = batch_clock(made[0].evaluation.rows.like[0].device)
    begin = clock()
    for batch in made:
        evaluate(module, [batch])
    return clock() - begin


def _difference(expected: Tensor, found: Tensor) -> float:
    difference = (found.double() - expected.double()).abs().sum()
    ratio = (difference / expected.double().abs().sum().clamp(min=1e-12)).item()
    # A NaN makes the distance unknown.
    return inf if isnan(ratio) else ratio
