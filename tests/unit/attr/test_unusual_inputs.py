"""Inputs that no class takes are refused by each in the same words."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.attr.errors import InvalidInput
from tests.models import mlp

BASES = {
    f"{of}Attribution" for of in ("", "Gradient", "Perturbation", "Internal", "Layer", "Neuron")
}
# Their inputs are those of what they are made of.
COMPOSED = {"DataLoaderAttribution", "LimeBase"}
CLASSES = [
    name
    for name in sorted(set(attr.__all__) - BASES - COMPOSED)
    if inspect.isclass(each := getattr(attr, name)) and issubclass(each, attr.Attribution)
]


def attributed(name: str, inputs: Tensor, baselines: Tensor) -> Any:
    """What a class attributes to such inputs, for want of better arguments with these baselines."""
    cls, model = getattr(attr, name), mlp().eval()
    assert isinstance(model, nn.Sequential)
    construct: list[object] = [model]
    if name == "NoiseTunnel":
        construct = [attr.Saliency(model)]
    elif {"layer", "module"} & inspect.signature(cls).parameters.keys():
        construct.append(model[1])
    method = cls(*construct)
    offered = {
        "target": 0,
        "neuron_selector": 0,
        "sliding_window_shapes": (1,),
        "baselines": baselines,
    }
    wanted = inspect.signature(method.attribute).parameters
    given = {key: value for key, value in offered.items() if key in wanted}
    return method.attribute(inputs, **given)


@pytest.mark.parametrize("name", CLASSES)
def test_inputs_without_examples_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"inputs\[0\] is a tensor of shape \(0, 8\): .*, at le"):
        attributed(name, torch.ones(0, 8).double(), torch.zeros(1, 8).double())
