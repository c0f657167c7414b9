"""Captum's own answers to the same questions, with its default settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from captum import attr as captum
from torch import Tensor, nn

from adcaptum.engine import Explicand, Output
from adcaptum.engine.vocabulary.arguments import PerExample
from tests.benchmarks.subjects import FromEmbeddings
from tests.benchmarks.tolerances.cases import Case
from tests.benchmarks.tolerances.data import EMBEDDING, Data

# With the noise that ours has, which is relative to the input's range: Captum's is not.
_NOISE: Final = 0.15

_CLASSES: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "integrated_gradients": captum.IntegratedGradients,
        "conductance": captum.LayerConductance,
        "internal_influence": captum.InternalInfluence,
        "gradient_shap": captum.GradientShap,
        "expected_gradients": captum.GradientShap,
        "layer_gradient_shap": captum.LayerGradientShap,
        "smooth_grad": lambda network: captum.NoiseTunnel(captum.Saliency(network)),
        "kernel_shap": captum.KernelShap,
        "shapley_value_sampling": captum.ShapleyValueSampling,
    }
)


def captums(data: Data, case: Case, question: Explicand) -> tuple[int, Tensor] | None:
    """How many rows Captum takes, and its values; None: it has no such method.

    LIME's penalty there is another, so that it has another truth.
    """
    make = _CLASSES.get(case.method)
    if make is None:
        return None
    network: nn.Module = data.model
    (x,) = question.inputs
    (baseline,) = question.baselines or ()
    if data.embedded(case):
        embedding = network.get_submodule(EMBEDDING)
        network = FromEmbeddings(network, embedding)
        with torch.no_grad():
            x, baseline = embedding(x), embedding(baseline)
    assert isinstance(question.target, Output)
    assert question.target.indices is not None
    arguments: dict[str, Any] = {"inputs": x, "target": int(question.target.indices)}
    further = tuple(a.tensor for a in question.arguments.values if isinstance(a, PerExample))
    if further:
        arguments["additional_forward_args"] = further
    if case.method == "smooth_grad":
        arguments["stdevs"] = _NOISE * float(x.max() - x.min())
    else:
        arguments["baselines"] = baseline
    if question.feature_mask is not None:
        arguments["feature_mask"] = question.feature_mask[0]
    rows = 0

    def count(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(given[0])

    torch.manual_seed(question.seed)
    layer = [network.get_submodule(data.layer)] if case.layered else []
    with network.register_forward_pre_hook(count):
        found = make(network, *layer).attribute(**arguments)
    found = found[0] if isinstance(found, tuple) else found
    return rows, found.detach().cpu().double()
