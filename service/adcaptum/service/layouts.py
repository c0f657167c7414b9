"""How a model's weights are arranged for speed: chosen by trying, and checked against the model.

A convolutional network is faster on a processor with its channels last, and with its batch norms
folded into the layers before them: 1.4 to 1.6 times with both, for the networks that come with this
package. Neither changes what the network says by more than rounding does, but folding changes what
stands between two layers. So the arrangement is a copy of the model, for evaluations of its inputs
and outputs alone; those that look inside, or replace how operations are differentiated, have the
model as it was loaded, and so have those whose answers must be the same to the last bit each time.

A copy has to be the same function: with float64 numbers it says what the model says. With the
model's own numbers it is off by rounding. That is little, except where an activation is zero but
for rounding: there a ReLU's gradient is one or nothing, and single pixels of a large network's
gradients are off by some percent, those of the model as it was loaded no less than those of a copy.
So gradients are compared by the sum of their differences, and the model's own distance from its
float64 self is stated beside the copy's distance from the model.
"""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf, isnan
from time import perf_counter
from types import MappingProxyType
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from adcaptum.engine.clock import batch_clock
from adcaptum.engine.evaluator import evaluate
from adcaptum.engine.packing import Slice
from adcaptum.service.checks import Checks, example_batch, outputs
from adcaptum.service.folding import foldable, folded
from adcaptum.service.loading import LoadedModel

AS_LOADED: Final = "as loaded"
FOLDED: Final = "folded"
CHANNELS_LAST: Final = "channels last"
BOTH: Final = "folded, channels last"

WORTH: Final = 1.1
"""Another arrangement must be this much faster: it is a second copy of the weights."""

SAME_FUNCTION: Final = 1e-6
"""How far outputs and gradients may be off in float64: the sum of the differences, relative to that
of the magnitudes."""

OUTPUT_TOLERANCE: Final = 1e-4
"""How far outputs may be off, likewise, with the model's own numbers."""

GRADIENT_TOLERANCE: Final = 1e-2
"""How far gradients may be off, likewise."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How a model is arranged.

    Attributes:
        name: In words.
        module: What evaluates rows at the model's inputs and outputs.
        distance: How far it is from the model, at the examples.
        rounding: How far the model is from itself in float64 there.
        rows_per_second: Of every arrangement that was tried, by name: each row once without and
            once with gradients, as far as the model has them.
    """

    name: str
    module: nn.Module
    distance: Distance = NOTHING
    rounding: Distance = NOTHING
    rows_per_second: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def choose(model: LoadedModel, checks: Checks, target_batch_seconds: float) -> Layout:
    """Tries arrangements, and gives the fastest that says what the model says.

    Only processors are known to gain; on other devices, and where nothing can be gained, the model
    is as it was loaded.

    Args:
        model: The model.
        checks: What was found out about it.
        target_batch_seconds: How long a batch may take.
    """
    as_loaded = Layout(AS_LOADED, model.module)
    if model.device.type != "cpu" or not checks.independent:
        return as_loaded
    try:
        return _fastest(model, checks, target_batch_seconds)
    except Exception:  # noqa: BLE001  # a model that cannot be copied serves as it is
        return as_loaded


def _fastest(model: LoadedModel, checks: Checks, target_batch_seconds: float) -> Layout:
    distances: dict[str, Distance] = {}
    modules = {AS_LOADED: model.module}
    for name, module in _arrangements(model, checks).items():
        # Some models do not work so arranged: they flatten by a view, or look for their batch norm.
        with suppress(Exception):
            distance = _distance(model, checks, module)
            if distance.within(OUTPUT_TOLERANCE, GRADIENT_TOLERANCE):
                distances[name], modules[name] = distance, module
    if not distances:
        return Layout(AS_LOADED, model.module)
    rates = _rates(model, checks, modules, target_batch_seconds)
    best = max(rates, key=lambda name: rates[name])
    if rates[best] < WORTH * rates[AS_LOADED]:
        best = AS_LOADED
    return Layout(
        best,
        modules[best],
        distances.get(best, NOTHING),
        _distance(_widened(model), checks, model.module),
        MappingProxyType(rates),
    )


def _arrangements(model: LoadedModel, checks: Checks) -> dict[str, nn.Module]:
    """The copies that may be faster, by name."""
    made: dict[str, nn.Module] = {}
    pairs = foldable(model.module, lambda: outputs(model, [t[:1] for t in model.examples]))
    if pairs:
        with suppress(Exception):
            wide = _widened(model)
            distance = _distance(wide, checks, folded(wide.module, pairs))
            if distance.within(SAME_FUNCTION, SAME_FUNCTION):
                made[FOLDED] = folded(model.module, pairs)
    if any(isinstance(part, nn.Conv2d) for part in model.module.modules()):
        made[CHANNELS_LAST] = _channels_last(model.module)
        if FOLDED in made:
            made[BOTH] = _channels_last(made[FOLDED])
    return made


def _channels_last(module: nn.Module) -> nn.Module:
    made: nn.Module = copy.deepcopy(module)
    # What a convolution gives is arranged as its weights are.
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _widened(model: LoadedModel) -> LoadedModel:
    """The model and its examples in float64."""
    module = copy.deepcopy(model.module).double()
    examples = tuple(t.double() if t.is_floating_point() else t for t in model.examples)
    return replace(model, module=module, examples=examples)


def _batches(model: LoadedModel, checks: Checks, rows: int) -> list[Slice]:
    """What an arrangement is tried on: gradients of a layer's values are not for it."""
    kinds = [False, True] if checks.differentiable else [False]
    batches = [example_batch(model, checks, rows, gradient=kind) for kind in kinds]
    return [batch for batch in batches if batch.evaluation.at_ends]


def _distance(model: LoadedModel, checks: Checks, module: nn.Module) -> Distance:
    """How far a module is from a model at its examples."""
    values: list[float] = []
    gradients: list[float] = []
    own = next(module.parameters()).dtype
    narrow = replace(
        model, examples=tuple(t.to(own) if t.is_floating_point() else t for t in model.examples)
    )
    rows = len(model.examples[0])
    for batch, same in zip(
        _batches(model, checks, rows), _batches(narrow, checks, rows), strict=True
    ):
        (expected,) = evaluate(model.module, [batch])
        (found,) = evaluate(module, [same])
        values.append(_difference(expected.values, found.values))
        gradients += map(_difference, expected.gradients, found.gradients)
    return Distance(max(values), max(gradients, default=0.0))


def _difference(expected: Tensor, found: Tensor) -> float:
    difference = (found.double() - expected.double()).abs().sum()
    ratio = (difference / expected.double().abs().sum().clamp(min=1e-12)).item()
    # Of what is not a number nothing is known.
    return inf if isnan(ratio) else ratio


def _rates(
    model: LoadedModel, checks: Checks, modules: Mapping[str, nn.Module], target_seconds: float
) -> dict[str, float]:
    """Rows per second of each, in turns: what else the machine does is the same for all."""
    single = _batches(model, checks, 1)
    alone = min(_seconds(model.module, single) for _ in range(2))
    rows = 1
    while 2 * rows <= MOST_ROWS and 2 * rows * alone <= target_seconds:
        rows *= 2
    batches = _batches(model, checks, rows)
    best = {name: _seconds(module, batches) for name, module in modules.items()}
    begin, rounds = perf_counter(), 0
    while rounds < FEWEST_ROUNDS or perf_counter() - begin < TRIAL_SECONDS:
        for name, module in modules.items():
            best[name] = min(best[name], _seconds(module, batches))
        rounds += 1
    return {name: rows / seconds for name, seconds in best.items()}


def _seconds(module: nn.Module, batches: list[Slice]) -> float:
    clock = batch_clock(batches[0].evaluation.rows.like[0].device)
    begin = clock()
    for batch in batches:
        evaluate(module, [batch])
    return clock() - begin
