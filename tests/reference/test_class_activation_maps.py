"""Class activation maps against slow transcriptions of their papers, and against Captum."""

from __future__ import annotations

import pytest
import torch
from captum import attr
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, explain
from tests.models import cnn, mlp, numbers

IMAGES = numbers(3, 1, 8, 8)
TARGETS = [0, 2, 1]


def at_layer(
    model: nn.Module, cut: int, x: Tensor, example: int, target: int
) -> tuple[Tensor, Tensor]:
    """One example's values after the first `cut` modules, and the target's gradients there."""
    assert isinstance(model, nn.Sequential)
    values = model[:cut](x[example : example + 1]).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(model[cut:](values.clone())[0, target], values)
    return values[0].detach(), gradients[0]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("sum_channels", [False, True])
@pytest.mark.parametrize("io", ["input", "output"])
def test_grad_cam_is_captums(relu: bool, sum_channels: bool, io: str) -> None:
    model = cnn()
    site = Site("2", io)  # type: ignore[arg-type]
    method = METHODS["grad_cam"](relu=relu, sum_channels=sum_channels)  # type: ignore[call-arg]
    ours = explain(model, method, Explicand.of(IMAGES, target=TARGETS, at=site))
    theirs = attr.LayerGradCam(model, model.get_submodule("2")).attribute(
        IMAGES,
        TARGETS,
        relu_attributions=relu,
        attr_dim_summation=sum_channels,
        attribute_to_layer_input=io == "input",
    )
    torch.testing.assert_close(ours.values[0], theirs, rtol=1e-12, atol=1e-12)


def test_grad_cam_of_a_vector_layer_weighs_each_unit_with_its_own_gradient() -> None:
    model, x = mlp(), numbers(3, 8)
    ours = explain(model, METHODS["grad_cam"](), Explicand.of(x, target=TARGETS, at=Site("1")))
    for i, target in enumerate(TARGETS):
        values, gradients = at_layer(model, 2, x, i, target)
        torch.testing.assert_close(ours.values[0][i], (values * gradients).sum(0, keepdim=True))
