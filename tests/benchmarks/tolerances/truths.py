"""What is true: by far more rows than anybody would ask for, or by all there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Output, explain
from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.surrogates.lime import Lime
from adcaptum.engine.methods.surrogates.linear_surrogate import fit
from adcaptum.engine.vocabulary.arguments import PerExample
from adcaptum.engine.vocabulary.flow import computed
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import resolve
from tests.benchmarks.tolerances.cases import Case
from tests.benchmarks.tolerances.data import Data

# Photos take 20 to 60 ms a row here, reviews 10: they have fewer.
_NODES: Final = MappingProxyType({"cells": 2000, "digits": 2000, "photos": 256, "reviews": 256})
_NODES_OF_A_ROW: Final = 100
_SAMPLES: Final = 30_000


def values(model: nn.Module, method: Method, question: Explicand) -> Tensor:
    """The values of one explanation, in float64."""
    return explain(model, method, question).values[0].cpu().double()


def _by_nodes(data: Data, case: Case, question: Explicand) -> Tensor:
    return values(data.model, data.method(case, n_steps=_NODES[data.name]), question)


def _by_rows(data: Data, case: Case, question: Explicand, name: str = "") -> Tensor:
    """The mean over the background, each row for itself on 100 nodes."""
    (rows,) = question.baselines or ()
    each = replace(
        question.repeated(len(rows)), baselines=(rows,), background=False, with_error=False
    )
    method = resolve(METHODS[name or "integrated_gradients"], {"n_steps": _NODES_OF_A_ROW})
    slopes = values(data.model, method, each)
    if name:
        activation = METHODS["activation"]()
        ends, starts = (
            values(data.model, activation, replace(each, inputs=tensors))
            for tensors in (each.inputs, (rows,))
        )
        slopes = slopes * (ends - starts)
    return slopes.mean(0, keepdim=True)


def _by_layer(data: Data, case: Case, question: Explicand) -> Tensor:
    return _by_rows(data, case, question, "internal_influence")


def _by_samples(data: Data, case: Case, question: Explicand) -> Tensor:
    return values(data.model, data.method(case, n_samples=_SAMPLES), replace(question, seed=-1))


def _by_coalitions(data: Data, case: Case, question: Explicand) -> Tensor:
    return values(data.model, METHODS["shapley_values"](), question)


def _by_masks(data: Data, case: Case, question: Explicand) -> Tensor:
    """Every way to show some of the groups and hide the others, equally likely."""
    shown, outputs = _worths(data.model, question)
    means = (outputs[:, None] * shown).mean(0) / 0.5
    return _spread(question, means)


def _by_flips(data: Data, case: Case, question: Explicand) -> Tensor:
    """The surrogate of all coalitions, equally likely, by their similarity."""
    shown, outputs = _worths(data.model, question)
    method = data.method(case)
    assert isinstance(method, Lime)
    ends, starts = question.inputs, question.paired_baselines()
    weights = method.kernel.weights(ends, starts, Features.of(question, ends), shown)
    found = computed(fit(method.surrogate, method.alpha, shown, weights, outputs[None, None]))
    return _spread(question, found.values[0])


def _worths(model: nn.Module, question: Explicand) -> tuple[Tensor, Tensor]:
    """Every coalition of the groups, (coalitions, groups), and the target with it."""
    assert question.feature_mask is not None
    assert isinstance(question.target, Output)
    assert question.target.indices is not None
    (mask,), (x,), (x0,) = question.feature_mask, question.inputs, question.paired_baselines()
    groups = int(mask.max()) + 1
    shown = (torch.arange(1 << groups)[:, None] >> torch.arange(groups) & 1).bool()
    parts = []
    further = [a.tensor for a in question.arguments.values if isinstance(a, PerExample)]
    for some in shown.to(x.device).split(256):
        repeated = [t.expand(len(some), *t.shape[1:]) for t in further]
        with torch.no_grad():
            parts.append(model(torch.where(some[:, mask[0]], x, x0), *repeated))
    return shown, torch.cat(parts)[:, int(question.target.indices)].cpu().double()


def _spread(question: Explicand, of_groups: Tensor) -> Tensor:
    assert question.feature_mask is not None
    return of_groups[question.feature_mask[0].cpu()].expand(question.inputs[0].shape)


TRUTHS: Final[Mapping[str, Callable[[Data, Case, Explicand], Tensor]]] = MappingProxyType(
    {
        "nodes": _by_nodes,
        "rows": _by_rows,
        "layer": _by_layer,
        "samples": _by_samples,
        "coalitions": _by_coalitions,
        "masks": _by_masks,
        "flips": _by_flips,
    }
)
