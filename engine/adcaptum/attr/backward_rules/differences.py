"""Attribution of differences from references, for the DeepLIFT classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature

from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import convergence_delta, explain, run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.engine.methods.backward_rules.deep_lift import DeepLift
from adcaptum.engine.methods.backward_rules.deep_lift_shap import DeepLiftShap
from adcaptum.engine.methods.backward_rules.reference_rows import incomplete
from adcaptum.engine.rules.deep_lift.named import DifferenceRule
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import endpoints

Distribution = Tensor | tuple[Tensor, ...] | Callable[..., Tensor | tuple[Tensor, ...]]
Custom = Callable[..., tuple[Tensor, ...]] | None


@dataclass(frozen=True, slots=True)
class Differences:
    """Attribution of differences, with its options.

    Attributes:
        multiply_by_inputs: Whether to multiply multipliers by the differences.
        rule: The rule for non-linearities.
        strict: Whether to refuse models with operations that have no rule.
    """

    multiply_by_inputs: bool
    rule: DifferenceRule
    strict: bool

    def of(
        self, call: CaptumCall, custom: Custom, *, with_delta: bool = False
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Returns the values, and their sum less the outputs' difference if wanted, (examples,)."""
        multiply = self.multiply_by_inputs and custom is None
        answer = _complete(call, DeepLift(self.rule, multiply, self.strict))
        if custom is not None:
            answer = replace(answer, values=_made(custom, call, answer.values))
        return answer.values, convergence_delta(answer) if with_delta else None

    def mean(
        self, call: CaptumCall, custom: Custom, *, with_delta: bool
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Returns the means over the baselines, and all pairs' deltas, (examples * baselines,).

        Pairs are explained one by one only if deltas or a custom function need them.
        """
        if custom is None and not with_delta:
            method = DeepLiftShap(self.rule, self.multiply_by_inputs, self.strict)
            return _complete(call, method).values, None
        count = call.explicand.count
        values, deltas = self.of(_pairs(call), custom, with_delta=with_delta)
        return tuple(v.unflatten(0, (count, -1)).mean(1) for v in values), deltas


def _complete(call: CaptumCall, method: DeepLift | DeepLiftShap) -> Attribution:
    """Explains, and warns if the attributions do not add up."""
    answer = explain(call, method)
    missing = incomplete(answer, call.explicand)
    if missing is not None:
        warnings.warn(
            f"{method.traits.name} leaves {float(missing.max()):.0%} of the output's difference "
            f"unexplained for {int((missing != 0).sum())} of {len(missing)} rows: the model does "
            "something that the rule does not see, such as a choice by a number of Python",
            stacklevel=4,
        )
    return answer


def _pairs(call: CaptumCall) -> CaptumCall:
    """Returns the call of each example with each baseline, grouped by example."""
    explicand = call.explicand
    given = explicand.baselines
    assert given is not None, "a distribution has been given"
    rows = max(map(len, given))
    tiled = tuple(
        b.expand(rows, *b.shape[1:]).repeat(explicand.count, *(1,) * (b.dim() - 1)) for b in given
    )
    return replace(call, explicand=replace(explicand.repeated(rows), baselines=tiled))


def _made(
    custom: Callable[..., tuple[Tensor, ...]], call: CaptumCall, multipliers: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if not callable(custom):
        raise InvalidInput("custom_attribution_func", repr(custom), "a function")
    wanted = len(signature(custom).parameters)
    if not 1 <= wanted <= 3:
        raise InvalidInput(
            "custom_attribution_func",
            f"of {wanted} arguments",
            "at least one and at most 3: the multipliers, the inputs, the baselines",
        )
    ends, starts = run_flow(call, endpoints(call.explicand)) if wanted > 1 else ((), ())
    return custom(*(multipliers, ends, starts)[:wanted])
