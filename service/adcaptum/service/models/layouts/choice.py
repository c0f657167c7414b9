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

The owner of a model may ask for another precision, or for a memory format, which then is chosen
whether it is faster or not; in another precision a copy may be as far off as it is, and says so.
The model may also be compiled, which takes seconds to minutes at load; that has to be faster, and
no further off than other arrangements may be, or than twice the copy in the same precision. What
does not work leaves the model as it is, and says why.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isinf
from types import MappingProxyType
from typing import Final

from torch import nn

from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.service.models.checks import Checks, outputs
from adcaptum.service.models.layouts import trials
from adcaptum.service.models.layouts.compiled import Compiled
from adcaptum.service.models.layouts.folding import Pair, foldable, folded
from adcaptum.service.models.layouts.trials import NOTHING, Distance
from adcaptum.service.models.layouts.variants import (
    AS_LOADED,
    FOLDED,
    ORIGINAL,
    Arrangement,
    Wanted,
    arranged,
)
from adcaptum.service.models.loading import LoadedModel

WORTH: Final = 1.1
"""Another arrangement must be this much faster: it is a second copy of the weights."""

SAME_FUNCTION: Final = 1e-6
"""How far outputs and gradients may be off in float64: the sum of the differences, relative to that
of the magnitudes."""

OUTPUT_TOLERANCE: Final = 1e-4
"""How far outputs may be off, likewise, with the model's own numbers."""

GRADIENT_TOLERANCE: Final = 1e-2
"""How far gradients may be off, likewise."""

DEVICES: Final = ("cpu", "cuda")
"""Where arrangements are tried. Others have no float64."""


def _nothing() -> None:
    """Nothing is to be made ready."""


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
        failures: Why others were not tried, by name.
        turn: What to hold while a batch of it runs.
        prepare: Makes it ready for as many of PyTorch's threads as the caller has, where it was
            not measured with as many.
    """

    name: str
    module: nn.Module
    distance: Distance = NOTHING
    rounding: Distance = NOTHING
    rows_per_second: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)
    prepare: Callable[[], None] = _nothing


def choose(model: LoadedModel, checks: Checks, target_batch_seconds: float) -> Layout:
    """Tries arrangements, and gives the fastest that says what the model says.

    Where nothing can be gained, the model is as it was loaded.

    Args:
        model: The model.
        checks: What was found out about it.
        target_batch_seconds: How long a batch may take.
    """
    wanted = Wanted.by(model.declaration.runtime, model.module)
    try:
        return _Choice(model, checks, wanted, target_batch_seconds).made()
    except Exception as error:  # noqa: BLE001  # a model that cannot be copied serves as it is
        return Layout(AS_LOADED, model.module, failures={"arrangements": _said(error)})


@dataclass(slots=True, eq=False)
class _Candidate:
    module: nn.Module
    distance: Distance = NOTHING
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)
    prepare: Callable[[], None] = _nothing


class _Choice:
    """Arrangements of one model that are tried."""

    def __init__(
        self, model: LoadedModel, checks: Checks, wanted: Wanted, target_seconds: float
    ) -> None:
        self._model = model
        self._checks = checks
        self._wanted = wanted
        self._target_seconds = target_seconds
        self._candidates = {ORIGINAL: _Candidate(model.module)}
        self._rates: dict[str, float] = {}
        self._failures: dict[str, str] = {}

    def made(self) -> Layout:
        """The best of them."""
        best = ORIGINAL
        if self._possible():
            self._copy()
            if len(self._candidates) > 1:
                best = self._fastest()
            if self._wanted.compile:
                best = self._compiled(best)
        candidate = self._candidates[best]
        return Layout(
            best.name,
            candidate.module,
            candidate.distance,
            self._rounding() if self._rates else NOTHING,
            MappingProxyType(self._rates),
            MappingProxyType(self._failures),
            candidate.turn,
            candidate.prepare,
        )

    def _possible(self) -> bool:
        problem = ""
        if self._model.device.type not in DEVICES:
            problem = f"arrangements are tried on {' and '.join(DEVICES)} only"
        elif not self._checks.independent:
            problem = "the model's rows depend on each other"
        if problem and (self._wanted.demanding or self._wanted.compile):
            self._failures["what model.toml asks for"] = problem
        return not problem

    def _copy(self) -> None:
        """Makes the copies that say what the model says."""
        pairs = self._pairs() if self._wanted.fold else []
        for wanted in self._wanted.arrangements(foldable=bool(pairs)):
            # Some models do not work so arranged: they flatten by a view, or look for their norm.
            try:
                module = arranged(self._model.module, pairs, wanted)
                self._add(wanted, _Candidate(module, self._distance(module)))
            except Exception as error:  # noqa: BLE001  # models are others' code
                self._failures[wanted.name] = _said(error)

    def _add(self, wanted: Arrangement, made: _Candidate, twice: Distance | None = None) -> bool:
        """Takes a copy, if it is near enough to the model; `twice` is what another one is off."""
        outputs_off, gradients_off = OUTPUT_TOLERANCE, GRADIENT_TOLERANCE
        if wanted.precision:
            outputs_off, gradients_off = (
                (inf, inf) if twice is None else (2 * each for each in twice)
            )
        known = not any(map(isinf, made.distance))
        if known and made.distance.within(outputs_off, gradients_off):
            self._candidates[wanted] = made
            return True
        off = "outputs by {:.2g}, gradients by {:.2g}".format(*made.distance)
        self._failures[wanted.name] = f"off: {off}" if known else "gives what is not a number"
        return False

    def _pairs(self) -> list[Pair]:
        """The batch norms that may be folded, if that gives the same function."""
        model = self._model
        pairs = foldable(model.module, lambda: outputs(model, [t[:1] for t in model.examples]))
        if not pairs:
            return []
        try:
            wide = trials.widened(model)
            same = replace(wide, module=folded(wide.module, pairs))
            distance = trials.distance(wide, same, self._checks)
        except Exception as error:  # noqa: BLE001  # models are others' code
            self._failures[FOLDED] = _said(error)
            return []
        if distance.within(SAME_FUNCTION, SAME_FUNCTION):
            return pairs
        self._failures[FOLDED] = "it is another function, in float64 too"
        return []

    def _fastest(self) -> Arrangement:
        self._measure()
        demanded = self._wanted.demanding
        rivals = [each for each in self._candidates if each != ORIGINAL or not demanded]
        best = max(rivals, key=lambda each: self._rates[each.name])
        enough = demanded or self._rates[best.name] >= WORTH * self._rates[AS_LOADED]
        return best if enough else ORIGINAL

    def _measure(self) -> None:
        modules = {wanted.name: each.module for wanted, each in self._candidates.items()}
        self._rates = trials.rates(self._model, self._checks, modules, self._target_seconds)

    def _compiled(self, plain: Arrangement) -> Arrangement:
        """The same compiled, if that works, is near enough and is worth it."""
        wanted = plain.then_compiled()
        before = self._candidates[plain]
        try:
            made = Compiled(before.module, self._model.device, self._lengths)
            usual = trials.trial_batches(self._model, self._checks, self._target_seconds)
            self._prepare(made, (len(usual[0]), len(self._model.examples[0])))
            prepare = partial(self._prepare, made, made.sizes)
            candidate = _Candidate(made, self._distance(made), made.turn, prepare)
            if not self._add(wanted, candidate, before.distance):
                return plain
            self._measure()
            if self._rates[wanted.name] < WORTH * self._rates[plain.name]:
                return plain
            prepare()
        except Exception as error:  # noqa: BLE001  # compilers fail in many ways
            self._failures[wanted.name] = _said(error)
            return plain
        return wanted

    @property
    def _lengths(self) -> list[list[int]]:
        """Of each argument the dimensions, beside the rows, that may have any length."""
        inputs = self._model.declaration.inputs
        dims = [[i for i, length in enumerate(each.shape) if i and length == -1] for each in inputs]
        # A text is ids and a mask.
        return 2 * dims if self._model.text is not None else dims

    def _prepare(self, made: Compiled, sizes: Sequence[int]) -> None:
        """Compiles for batches of some sizes."""
        for rows in sizes:
            for batch in trials.batches(self._model, self._checks, rows):
                made.prepare(partial(evaluate, made, [batch]))

    def _distance(self, module: nn.Module) -> Distance:
        return trials.distance(self._model, replace(self._model, module=module), self._checks)

    def _rounding(self) -> Distance:
        with suppress(Exception):
            return trials.distance(trials.widened(self._model), self._model, self._checks)
        return NOTHING


def _said(error: Exception) -> str:
    """What an error says, in a line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]
