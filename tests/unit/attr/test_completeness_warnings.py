"""Warnings of attributions along a path that miss much of the output's difference."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr
from tests.models import mlp, numbers


class Steep(nn.Module):
    """A step between 0.3 and 0.31: few points of a path fall on it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)[:, 0]
        return 100 * ((y - 0.3).relu() - (y - 0.31).relu()) + x[:, 1]


ONES = torch.ones(2, 2)
METHODS = ["IntegratedGradients", "LayerIntegratedGradients", "LayerConductance"]


def method(name: str, model: Any, *options: Any) -> Any:
    layer = [model.get_submodule("first" if isinstance(model, Steep) else "0")]
    return getattr(attr, name)(model, *(layer if "Layer" in name else []), *options)


@pytest.mark.parametrize("name", METHODS[:2])
def test_a_large_error_is_told_once_with_what_to_do(name: str) -> None:
    with pytest.warns(UserWarning, match="miss up to") as told:
        method(name, Steep()).attribute(ONES, n_steps=5, return_convergence_delta=True)
    (warning,) = told
    text = str(warning.message)
    assert "2 of 2 examples" in text
    assert "n_steps=5" in text
    assert "tolerance" in text
    assert ("other ways than this layer" in text) == ("Layer" in name)
    assert warning.filename == __file__


def test_a_layer_that_is_passed_by_is_told() -> None:
    around = nn.Sequential(nn.Identity(), Steep())

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x)[:, 0] + 10 * x[:, 1] + around(x) * 0

    model = Split()
    found = attr.LayerConductance(model, model.first)
    with pytest.warns(UserWarning, match="other ways than this layer"):
        found.attribute(ONES, return_convergence_delta=True)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_told_without_a_delta_or_when_it_is_small(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(name, Steep()).attribute(ONES, n_steps=5)
        method(name, mlp()).attribute(numbers(3, 8), target=1, return_convergence_delta=True)


def test_gradients_that_are_not_multiplied_have_no_difference_to_miss() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = method("IntegratedGradients", Steep(), False)
        found.attribute(ONES, n_steps=5, return_convergence_delta=True)


def test_outputs_without_a_difference_are_no_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, delta = attr.IntegratedGradients(lambda x: x[:, 0] * 0).attribute(
            ONES, return_convergence_delta=True
        )
    assert torch.equal(delta, torch.zeros(2))
