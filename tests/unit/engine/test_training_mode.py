"""A model whose answers chance or a batch changes is refused, wherever in it that happens."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adcaptum.engine import Explicand, ModelError, explain
from adcaptum.engine.methods.gradients.saliency import Saliency
from tests.models import numbers


def asked(model: nn.Module) -> torch.Tensor:
    return explain(model, Saliency(), Explicand.of(numbers(2, 4).float(), target=0)).values[0]


@pytest.mark.parametrize(
    "module", [nn.Dropout(0.5), nn.BatchNorm1d(4)], ids=lambda module: type(module).__name__
)
def test_a_module_in_training_mode_in_a_model_that_is_not_is_refused(module: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), module)).eval()
    asked(model)
    module.train()
    with pytest.raises(ModelError, match=r"layer '1\.1' .* is in training mode"):
        asked(model)


def test_modules_in_training_mode_that_do_the_same_in_either_are_no_reason() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.ReLU()).train()
    assert asked(model).isfinite().all()


class Kept(nn.Module):
    """Whose other modules are held, and not called."""

    def __init__(self, *held: nn.Module | None) -> None:
        super().__init__()
        for i, module in enumerate(held):
            self.register_module(str(i), module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_places_without_a_module_and_modules_in_several_places_are_passed_over() -> None:
    norm = nn.BatchNorm1d(4).eval()
    model = Kept(None, norm, nn.Sequential(norm, nn.Sequential(norm))).eval()
    assert (asked(model)[:, 0] == 2).all()


def test_modules_that_hold_each_other_are_looked_at_once() -> None:
    dropout = nn.Dropout(0.5).eval()
    model = Kept(Kept(dropout).eval())
    model.get_submodule("0").register_module("above", model)
    model.training = False
    assert (asked(model)[:, 0] == 2).all()
    dropout.train()
    with pytest.raises(ModelError, match=r"layer '0\.0'"):
        asked(model)
