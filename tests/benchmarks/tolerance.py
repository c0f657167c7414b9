"""Rows to a tolerance, and whether what is stated holds.

Real explanations: rows of the data sets, of cells also against other baselines. The truth is what
2,000 nodes say (path methods; 100 on each of 20 background rows), every coalition of groups of
features (Shapley values, RISE), or very many samples (SmoothGrad).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Output, Site, StopReason, explain
from adcaptum.engine.method import Method
from adcaptum.engine.parameters import resolve
from adcaptum.zoo.recipes import cells, digits
from tests.benchmarks.subjects import bundled
from tests.benchmarks.tables import CONSOLE, table

TOLERANCES: Final = (0.05, 0.01)
LAYERS: Final = MappingProxyType({"cells": "hidden_1", "digits": "block_1"})
_ROWS: Final = 20
_FIXED: Final = 100


@dataclass(frozen=True, slots=True)
class Case:
    """A method, how it is asked, and what is true.

    Attributes:
        method: Its name.
        truth: What computes the truth.
        setting: The parameter that is fixed without a tolerance, and its default.
        question: Which baselines and features: "baseline", "background" or "groups".
        counts: How many explanations of each model; none: it is not asked.
        layered: Whether a layer is explained.
        only: The tolerances; empty: all.
    """

    method: str
    truth: str
    setting: tuple[str, int]
    question: str = "baseline"
    counts: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({"cells": 1000, "digits": 300})
    )
    layered: bool = False
    only: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _few(cells: int, digits: int) -> Mapping[str, int]:
    return MappingProxyType({"cells": cells, "digits": digits})


_STEPS: Final = ("n_steps", 50)
CASES: Final = (
    Case("integrated_gradients", "nodes", _STEPS),
    Case("blur_integrated_gradients", "nodes", _STEPS, counts=_few(0, 100)),
    Case("internal_influence", "nodes", _STEPS, counts=_few(1000, 200), layered=True),
    Case("conductance", "nodes", _STEPS, counts=_few(1000, 200), layered=True),
    Case("neuron_conductance", "nodes", _STEPS, counts=_few(1000, 100), layered=True),
    Case("gradient_shap", "rows", ("n_samples", 50), "background", _few(1000, 100)),
    Case("expected_gradients", "rows", ("n_samples", 200), "background", _few(1000, 100)),
    Case(
        "layer_gradient_shap", "layer", ("n_samples", 50), "background", _few(1000, 0), layered=True
    ),
    Case("smooth_grad", "samples", ("n_samples", 20), counts=_few(300, 0)),
    Case("rise", "masks", ("n_samples", 1000), "groups", _few(1000, 100)),
    Case("shapley_value_sampling", "coalitions", ("n_samples", 25), "groups", _few(1000, 100)),
    Case("owen_sampling", "coalitions", ("n_samples", 25), "groups", _few(1000, 100)),
    Case("kernel_shap", "coalitions", ("n_samples", 2048), "groups", _few(1000, 100)),
    Case("leverage_shap", "coalitions", ("n_samples", 2048), "groups", _few(1000, 100)),
)
# Of so many groups every coalition is the truth.
_GROUPS: Final = MappingProxyType({"cells": 15, "digits": 12})


@dataclass(frozen=True)
class Data:
    """A model, examples and baselines."""

    name: str
    count: int

    @cached_property
    def model(self) -> nn.Module:
        return bundled(self.name).module

    @cached_property
    def _loaded(self) -> tuple[Tensor, Tensor]:
        data = {"cells": cells, "digits": digits}[self.name].load()
        return torch.cat([data.test, data.train]).float(), data.train.float()

    @cached_property
    def targets(self) -> Tensor:
        with torch.no_grad():
            return self.model(self._loaded[0]).argmax(1)

    def question(self, case: Case, i: int) -> Explicand:
        """The i-th question."""
        inputs, train = self._loaded
        at = i % len(inputs)
        mean = train.mean(0, keepdim=True)
        # A data set that is too small is compared with other baselines the second time.
        other = i % len(train)
        baselines = mean if i < len(inputs) else train[other : other + 1]
        mask = None
        if case.question == "background":
            first = 0 if i < len(inputs) else _ROWS
            baselines = train[first : first + _ROWS]
        elif case.question == "groups":
            mask = _groups(inputs[:1], 10 if case.truth == "masks" else _GROUPS[self.name])
        return Explicand.of(
            inputs[at : at + 1],
            target=int(self.targets[at]),
            baselines=baselines,
            background=case.question == "background",
            feature_mask=mask,
            at=Site(LAYERS[self.name]) if case.layered else INPUT,
            seed=i,
        )


def _groups(like: Tensor, groups: int) -> Tensor:
    elements = like[0].numel()
    if like.dim() == 2:
        return (torch.arange(elements) * groups // elements).view(1, -1)
    # Patches of an image: three rows of them, or one.
    height, width = like.shape[-2:]
    down = 3 if groups % 3 == 0 else 2
    across = groups // down
    rows = torch.arange(height) * down // height
    columns = torch.arange(width) * across // width
    return (rows[:, None] * across + columns).expand(like.shape)


def _method(name: str, **parameters: Any) -> Method:
    return resolve(METHODS[name], parameters)


def _values(model: nn.Module, method: Method, question: Explicand) -> Tensor:
    return explain(model, method, question).values[0].double()


def _by_nodes(model: nn.Module, case: Case, question: Explicand) -> Tensor:
    return _values(model, _method(case.method, n_steps=2000), question)


def _by_rows(model: nn.Module, case: Case, question: Explicand, name: str = "") -> Tensor:
    """The mean over the background, each row for itself on 100 nodes."""
    (rows,) = question.baselines or ()
    each = replace(
        question.repeated(len(rows)), baselines=(rows,), background=False, with_error=False
    )
    method = _method(name or "integrated_gradients", n_steps=100)
    slopes = _values(model, method, each)
    if name:
        ends, starts = (
            _values(model, _method("activation"), replace(each, inputs=tensors, target=each.target))
            for tensors in (each.inputs, (rows,))
        )
        slopes = slopes * (ends - starts)
    return slopes.mean(0, keepdim=True)


def _by_layer(model: nn.Module, case: Case, question: Explicand) -> Tensor:
    return _by_rows(model, case, question, "internal_influence")


def _by_samples(model: nn.Module, case: Case, question: Explicand) -> Tensor:
    return _values(model, _method(case.method, n_samples=30_000), replace(question, seed=-1))


def _by_coalitions(model: nn.Module, case: Case, question: Explicand) -> Tensor:
    return _values(model, _method("shapley_values"), question)


def _by_masks(model: nn.Module, case: Case, question: Explicand) -> Tensor:
    """Every way to show some of the groups and hide the others, equally likely."""
    assert question.feature_mask is not None
    assert question.baselines is not None
    (mask,), (x,), (x0,) = question.feature_mask, question.inputs, question.baselines
    groups = int(mask.max()) + 1
    shown = (torch.arange(1 << groups)[:, None] >> torch.arange(groups) & 1).bool()
    with torch.no_grad():
        parts = [model(torch.where(s[:, mask[0]], x, x0)) for s in shown.split(512)]
    assert isinstance(question.target, Output)
    assert question.target.indices is not None
    outputs = torch.cat(parts)[:, int(question.target.indices)].double()
    return ((outputs[:, None] * shown).mean(0) / 0.5)[mask].expand(x.shape)


TRUTHS: Final[Mapping[str, Callable[[nn.Module, Case, Explicand], Tensor]]] = MappingProxyType(
    {
        "nodes": _by_nodes,
        "rows": _by_rows,
        "layer": _by_layer,
        "samples": _by_samples,
        "coalitions": _by_coalitions,
        "masks": _by_masks,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Rows and true errors of many explanations."""

    rows: Tensor
    errors: Tensor
    converged: Tensor


class Tolerances:
    """The section of the benchmarks."""

    def __init__(self, *, quick: bool) -> None:
        self._quick = quick

    def run(self, names: tuple[str, ...], methods: tuple[str, ...]) -> None:
        """Prints a table for each model."""
        for name in names or tuple(LAYERS):
            if name not in LAYERS:
                continue
            made = table(
                f"{name}: to a tolerance, and by fixed settings",
                ["method", "explanations", "tolerance", "rows", "p90", "true error", "p99", "held",
                 "met", "default rows", "its error", "its p99", "rows for this error",
                 "rows for this promise"],
            )  # fmt: skip
            for case in CASES:
                if (not methods or case.method in methods) and case.counts[name]:
                    for line in self._lines(name, case):
                        made.add_row(*line)
            CONSOLE.print(made)

    def _lines(self, name: str, case: Case) -> list[list[str]]:
        count = min(case.counts[name], 50 if self._quick else 10_000)
        data = Data(name, count)
        questions = [data.question(case, i) for i in range(count)]
        exact = [TRUTHS[case.truth](data.model, case, q) for q in questions]
        parameter, default = case.setting
        few = slice(0, _FIXED)
        fixed = [
            _explain(data.model, _method(case.method, **{parameter: n}), questions[few], exact[few])
            for n in (default, 4 * default)
        ]
        lines = []
        for tolerance in TOLERANCES:
            asked = [replace(q, tolerance=tolerance) for q in questions]
            found = _explain(data.model, _method(case.method), asked, exact)
            # What did not get there says so.
            held = ((found.errors <= tolerance) | ~found.converged).double().mean()
            middle, last = _middle(found.errors), _last(found.errors)
            lines.append(
                [case.method, str(count), f"{tolerance:.0%}", f"{_middle(found.rows):.0f}",
                 f"{float(found.rows.quantile(0.9)):.0f}", f"{middle:.2%}", f"{last:.2%}",
                 f"{float(held):.1%}", f"{float(found.converged.double().mean()):.1%}",
                 f"{_middle(fixed[0].rows):.0f}",
                 f"{_middle(fixed[0].errors):.2%}", f"{_last(fixed[0].errors):.2%}",
                 _needed(fixed, _middle(fixed[0].errors), middle),
                 _needed(fixed, _last(fixed[0].errors), tolerance)]
            )  # fmt: skip
        return lines


def _explain(
    model: nn.Module, method: Method, questions: list[Explicand], exact: list[Tensor]
) -> Found:
    rows, errors, converged = [], [], []
    for question, truth in zip(questions, exact, strict=True):
        answer = explain(model, method, question)
        wrong = (answer.values[0].double() - truth).abs().sum() / truth.abs().sum()
        rows.append(float(answer.rows_used))
        errors.append(float(wrong))
        converged.append(answer.stop_reason is StopReason.CONVERGED)
    return Found(torch.tensor(rows), torch.tensor(errors), torch.tensor(converged))


def _middle(numbers: Tensor) -> float:
    return float(numbers.median())


def _last(numbers: Tensor) -> float:
    return float(numbers.quantile(0.99))


def _needed(fixed: list[Found], size: float, error: float) -> str:
    """How many rows the default's rule takes until an error of that size is as small as wanted.

    By the power law of the median errors of two settings.
    """
    (n, m), (a, b) = (
        [_middle(t) for t in of] for of in zip(*((f.rows, f.errors) for f in fixed), strict=True)
    )
    if n == m or not 0 < b < a or not error:
        return "-"
    return f"{n * (size / error) ** (log(m / n) / log(a / b)):.0f}"
