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


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr], ids=str)
def test_sparse_inputs_are_refused(name: str, layout: torch.layout) -> None:
    inputs, baselines = torch.ones(2, 8).double(), torch.zeros(1, 8).double()
    with pytest.raises(InvalidInput, match=rf"inputs\[0\] is a {layout} tensor: a dense one"):
        attributed(name, inputs.to_sparse(layout=layout), baselines)


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype")
def test_nested_inputs_are_refused() -> None:
    inputs = torch.nested.nested_tensor([torch.ones(8), torch.ones(8)])
    with pytest.raises(InvalidInput, match=r"inputs\[0\] is a nested tensor: a dense one"):
        attributed("Saliency", inputs, inputs)


@pytest.mark.parametrize("name", ["baselines", "feature_mask", "additional_forward_args"])
def test_other_sparse_tensors_with_rows_of_examples_are_refused(name: str) -> None:
    sparse = torch.ones(2, 8).double().to_sparse()
    method: Any = attr.FeatureAblation(mlp())
    with pytest.raises(InvalidInput, match=rf"{name}\[0\] is "):
        method.attribute(torch.ones(2, 8).double(), target=0, **{name: sparse})


def test_a_sparse_tensor_that_all_rows_share_goes_to_the_model_as_it_is() -> None:
    weights = torch.eye(8).double().to_sparse()
    method = attr.InputXGradient(lambda x, w: torch.sparse.mm(w, x.T).sum(0))
    found = method.attribute(torch.ones(2, 8).double(), additional_forward_args=weights)
    torch.testing.assert_close(found, torch.ones(2, 8).double())


def test_what_is_no_tensor_is_refused() -> None:
    method: Any = attr.Saliency(mlp())
    with pytest.raises(InvalidInput, match=r"inputs\[0\] is of type list: a torch\.Tensor"):
        method.attribute(([1.0] * 8,), target=0)
