"""Guided Grad-CAM, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine import METHODS, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers


def network() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 3, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(27, 2),
        )
    return layers.double().eval()


def by_definition(x: Tensor, target: int, mode: str) -> Tensor:
    """Grad-CAM by autograd; guided backpropagation layer by layer, backwards."""
    model = network()
    hidden = model[1](model[0](x))
    maps = model[2](hidden).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model[3:](maps)[:, target].sum(), maps)
    cam = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu().detach()
    # Each ReLU lets through what is positive, both of the signal and of what is handed back.
    weight = model[5].weight[target].view(1, 3, 3, 3).expand(len(x), -1, -1, -1)
    back = weight.relu() * (maps > 0)
    back = functional.conv_transpose2d(back, model[2].weight, stride=2, output_padding=1)
    back = back.relu() * (hidden > 0)
    guided = functional.conv_transpose2d(back, model[0].weight, padding=1)
    return guided.detach() * functional.interpolate(cam, x.shape[2:], mode=mode)


@pytest.mark.parametrize(("enlarging", "mode"), [("nearest", "nearest"), ("linear", "bilinear")])
@pytest.mark.parametrize("target", [0, 1])
def test_it_is_what_the_paper_says(enlarging: str, mode: str, target: int) -> None:
    x = numbers(3, 2, 8, 8)
    method: Any = resolve(METHODS["guided_grad_cam"], {"enlarging": enlarging})
    answer = explain(network(), method, Explicand.of(x, target=target, at=Site("2")))
    assert answer.values[0].shape == x.shape
    assert bool(answer.values[0].any())
    torch.testing.assert_close(answer.values[0], by_definition(x, target, mode))
    assert answer.rows_used == 6


def test_a_map_with_more_positions_than_the_input_is_refused() -> None:
    class Unfolding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.convolution(x.view(-1, 1, 4, 4)).relu().flatten(1)

    question = Explicand.of(torch.ones(2, 16), target=0, at=Site("convolution"))
    with pytest.raises(InvalidArgument, match="can be enlarged"):
        explain(Unfolding(), METHODS["guided_grad_cam"](), question)
