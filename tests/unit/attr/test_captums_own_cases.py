"""The cases that Captum's own tests run all its methods on, for gradient and path methods.

They come with Captum (`captum.testing.attr.helpers.test_config`): a model, the arguments, a layer's
name, and whether the method is wrapped in a NoiseTunnel.
"""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from captum import attr as captum
from captum.testing.attr.helpers.test_config import config
from torch import nn
from torch.utils._pytree import tree_map

from adcaptum import attr
from tests.captum_oracle import assert_same, silently

RANDOM = {"GradientShap", "LayerGradientShap", "NeuronGradientShap"}
NAMES = RANDOM | {
    "InputXGradient",
    "IntegratedGradients",
    "InternalInfluence",
    "LayerActivation",
    "LayerConductance",
    "LayerGradCam",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "NeuronConductance",
    "NeuronGradient",
    "NeuronIntegratedGradients",
    "Saliency",
}
CASES = [
    pytest.param(algorithm.__name__, case, id=f"{algorithm.__name__}-{case['name']}")
    for case in config
    for algorithm in case["algorithms"]
    if algorithm.__name__ in NAMES
]


def answer(package: ModuleType, name: str, case: dict[str, Any]) -> Any:
    """What a package's method says of a case."""
    model: nn.Module = copy.deepcopy(case["model"]).eval()
    layers = case.get("layer")
    construct: list[Any] = [model]
    if isinstance(layers, list):
        construct.append([model.get_submodule(layer) for layer in layers])
    elif layers is not None:
        construct.append(model.get_submodule(layers))
    method = silently(getattr(package, name), *construct)
    if case.get("noise_tunnel"):
        method = package.NoiseTunnel(method)
    torch.manual_seed(0)
    return silently(method.attribute, **copy.deepcopy(case["attribute_args"]))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_answer_is_captums(name: str, case: dict[str, Any]) -> None:
    mine, theirs = answer(attr, name, case), answer(captum, name, case)
    if name == "NeuronConductance" and "method" not in case["attribute_args"]:
        # Its rule is the trapezoid by default, whose weights sum to 49 / 50 there (B1).
        theirs = tree_map(lambda t: t * 50 / 49, theirs)
    if name in RANDOM:
        mine, theirs = (tree_map(torch.zeros_like, each) for each in (mine, theirs))
    assert_same(mine, theirs, 2e-5)
