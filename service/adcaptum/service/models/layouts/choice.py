"""The choice of a model's fastest variant, by trial, among those that compute the same function.

A convolutional network is faster on a CPU with its channels last and with its batch norms folded
into the layers before them. Neither changes the outputs by more than rounding, but folding changes
the values between two layers. The variant is therefore a copy of the model for evaluations at the
model's inputs and outputs; layer methods, rules on operations and deterministic requests use the
model as loaded.

A copy must compute the same function in float64. In the model's own precision it differs by
rounding. Where an activation is zero up to rounding, a ReLU's gradient is one or nothing, and
single pixels of a large network's gradients differ by some percent, between the model and its
float64 self no less than between the model and a copy. Gradients are therefore compared by the sum
of their differences, and the report states the model's own rounding beside the copy's distance.

The owner of a model may demand another precision or a memory format in `model.toml`; it is then
taken whether it is faster or not, and its distance is stated. A variant that fails leaves the model
as loaded, and the report says why. Figures: `docs/decisions/0070-model-variants.md`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf, isinf
from types import MappingProxyType
from typing import Final

from torch import nn

from adcaptum.service.models.checks import Checks, outputs
from adcaptum.service.models.failure_reason import without_paths
from adcaptum.service.models.layouts import trials
from adcaptum.service.models.layouts.folding import Pair, foldable, folded
from adcaptum.service.models.layouts.transforms import (
    AS_LOADED,
    FOLDED,
    TransformOptions,
    Transforms,
)
from adcaptum.service.models.layouts.trials import SAME, Distance, TrialReport
from adcaptum.service.models.layouts.variants import ModelVariant
from adcaptum.service.models.loading import LoadedModel

WORTH: Final = 1.1
"""The speed-up that a variant must reach: it is a second copy of the weights."""

SAME_FUNCTION: Final = 1e-6
"""The largest distance of outputs and gradients in float64."""

OUTPUT_TOLERANCE: Final = 1e-4
"""The largest distance of outputs in the model's own precision."""

GRADIENT_TOLERANCE: Final = 1e-2
"""The largest distance of gradients in the model's own precision."""

DEVICES: Final = ("cpu", "cuda")
"""Device types on which variants are tried. Others have no float64."""


def choose(model: LoadedModel, checks: Checks, target_batch_seconds: float) -> ModelVariant:
    """Returns the fastest variant of a model, or the model as loaded where none is worth it.

    Args:
        model: The model.
        checks: The facts found about it.
        target_batch_seconds: The longest that a batch may take.
    """
    options = TransformOptions.of(model.declaration.runtime, model.module, model.device)
    try:
        return _Choice(model, checks, options, target_batch_seconds).made()
    except Exception as error:  # noqa: BLE001  # a model that cannot be copied serves as loaded
        report = TrialReport(failures=MappingProxyType({"variants": _summary(error)}))
        return ModelVariant(model.module, trials=report)


class _Choice:
    """The variants of one model that are tried."""

    def __init__(
        self, model: LoadedModel, checks: Checks, options: TransformOptions, target_seconds: float
    ) -> None:
        self._model = model
        self._checks = checks
        self._options = options
        self._target_seconds = target_seconds
        self._original = ModelVariant(model.module)
        self._candidates: list[ModelVariant] = []
        self._failures: dict[str, str] = {}

    def made(self) -> ModelVariant:
        """Tries the variants and returns the best, with the report of the trials."""
        best, rates, rounding = self._original, {}, SAME
        if self._possible():
            self._copy()
        if self._candidates:
            rates = self._rates()
            best = self._fastest(rates)
            rounding = self._rounding()
        report = TrialReport(rounding, MappingProxyType(rates), MappingProxyType(self._failures))
        return replace(best, trials=report)

    def _possible(self) -> bool:
        problem = ""
        if self._model.device.type not in DEVICES:
            problem = f"variants are tried on {' and '.join(DEVICES)} only"
        elif not self._checks.independent:
            problem = "the model's rows depend on each other"
        if problem and self._options.demanding:
            self._failures["what model.toml asks for"] = problem
        return not problem

    def _copy(self) -> None:
        """Makes the copies that agree with the model."""
        pairs = self._pairs() if self._options.fold else []
        for transforms in self._options.transforms(foldable=bool(pairs)):
            # Some models fail when transformed: they flatten by a view, or read their batch norm.
            try:
                module = transforms.apply(self._model.module, pairs)
                self._add(transforms, ModelVariant(module, transforms.name, self._distance(module)))
            except Exception as error:  # noqa: BLE001  # models are others' code
                self._failures[transforms.name] = _summary(error)

    def _add(self, transforms: Transforms, variant: ModelVariant) -> None:
        """Keeps a copy that is near enough to the model."""
        bounds = (inf, inf) if transforms.precision else (OUTPUT_TOLERANCE, GRADIENT_TOLERANCE)
        if any(map(isinf, variant.distance)):
            self._failures[variant.name] = "gives what is not a number"
        elif variant.distance.within(*bounds):
            self._candidates.append(variant)
        else:
            off = "outputs by {:.2g}, gradients by {:.2g}".format(*variant.distance)
            self._failures[variant.name] = f"off: {off}"

    def _pairs(self) -> list[Pair]:
        """Returns the foldable batch norms, if folding them gives the same function."""
        model = self._model
        pairs = foldable(model.module, lambda: outputs(model, [t[:1] for t in model.examples]))
        if not pairs:
            return []
        try:
            wide = trials.widened(model)
            same = replace(wide, module=folded(wide.module, pairs))
            distance = trials.distance(wide, same, self._checks)
        except Exception as error:  # noqa: BLE001  # models are others' code
            self._failures[FOLDED] = _summary(error)
            return []
        if distance.within(SAME_FUNCTION, SAME_FUNCTION):
            return pairs
        self._failures[FOLDED] = "it is another function, in float64 too"
        return []

    def _fastest(self, rates: Mapping[str, float]) -> ModelVariant:
        best = max(self._candidates, key=lambda each: rates[each.name])
        enough = self._options.demanding or rates[best.name] >= WORTH * rates[AS_LOADED]
        return best if enough else self._original

    def _rates(self) -> dict[str, float]:
        modules = {each.name: each.module for each in (self._original, *self._candidates)}
        return trials.rates(self._model, self._checks, modules, self._target_seconds)

    def _distance(self, module: nn.Module) -> Distance:
        return trials.distance(self._model, replace(self._model, module=module), self._checks)

    def _rounding(self) -> Distance:
        with suppress(Exception):
            return trials.distance(trials.widened(self._model), self._model, self._checks)
        return SAME


def _summary(error: Exception) -> str:
    """Returns the type and the first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    return without_paths(f"{type(error).__name__}: {lines[0]}")[:200]
