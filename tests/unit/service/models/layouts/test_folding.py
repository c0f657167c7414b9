"""Which batch norms are folded, and that the copy is the same function."""

import torch
from torch import Tensor, nn

from adcaptum.service.models.layouts.folding import foldable, folded
from tests.models import cnn


def settled(module: nn.Module) -> nn.Module:
    """A model in evaluation mode whose batch norms have seen something."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
    return module.double().eval().requires_grad_(requires_grad=False)


def pairs(module: nn.Module, rows: Tensor) -> list[tuple[str, str]]:
    return foldable(module, lambda: module(rows))


class Block(nn.Module):
    """A convolution and a batch norm, called as its subclasses like."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)


class Twice(Block):
    """The same layers again."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.norm(self.conv(x))))


class Beside(Block):
    """Something else takes what the convolution gives."""

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return self.norm(made) + made


class Between(Block):
    """An activation stands between."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu(self.conv(x)))


class WeightsElsewhere(Block):
    """The convolution's weights decide something else, too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.conv.weight.sum()


IMAGES = torch.randn(3, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_a_folded_copy_is_the_same_function() -> None:
    model = cnn()
    rows = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    found = pairs(model, rows)
    assert found == [("2.conv", "2.norm")]
    torch.testing.assert_close(folded(model, found)(rows), model(rows), rtol=1e-12, atol=1e-12)


def test_linear_layers_and_signals_are_folded() -> None:
    model = settled(
        nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4)
        )
    )
    rows = torch.randn(4, 2, 5, dtype=torch.float64)
    found = pairs(model, rows)
    assert found == [("0", "1"), ("3", "4")]
    torch.testing.assert_close(folded(model, found)(rows), model(rows), rtol=1e-12, atol=1e-12)


def test_the_model_itself_is_left_alone() -> None:
    model = cnn()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    copy = folded(model, [("2.conv", "2.norm")])
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert isinstance(model.get_submodule("2.norm"), nn.BatchNorm2d)
    assert [name for name, _ in copy.named_modules()] == [name for name, _ in model.named_modules()]


def test_layers_that_are_called_again_are_not_folded() -> None:
    assert pairs(settled(Twice()), IMAGES) == []


def test_a_layer_whose_output_goes_elsewhere_too_is_not_folded() -> None:
    assert pairs(settled(Beside()), IMAGES) == []


def test_an_activation_between_keeps_them_apart() -> None:
    assert pairs(settled(Between()), IMAGES) == []


def test_weights_with_another_use_are_not_folded() -> None:
    assert pairs(settled(WeightsElsewhere()), IMAGES) == []
