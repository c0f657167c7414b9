"""Randomisation tests tell attributions of a model's weights from others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from adcaptum import attr, metrics
from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.metrics.average_ranks import average_ranks


class Scaled(nn.Module):
    """A layer without `reset_parameters`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 12), nn.Tanh(), Scaled(), nn.Linear(12, 3)).eval()


def saliency(model: nn.Module, x: Any) -> Any:
    return attr.Saliency(model).attribute(x, target=1, abs=False)


def inputs() -> Tensor:
    return torch.randn(6, 40, generator=torch.Generator().manual_seed(1))


def test_ranks_share_ties_as_scipy_does() -> None:
    x = torch.randn(4, 30).round(decimals=1)
    y = x + torch.randn(4, 30).round(decimals=0)
    from adcaptum.engine.metrics.correlation import correlation

    found, _ = correlation(average_ranks(x.double()), average_ranks(y.double()))
    for i in range(4):
        assert float(found[i]) == pytest.approx(spearmanr(x[i], y[i]).statistic)


@pytest.mark.parametrize("n_noisy", [0, 3])
@pytest.mark.parametrize("bottom_up", [False, True])
def test_gradients_depend_on_every_layer(bottom_up: bool, n_noisy: int) -> None:
    model = network()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    options: dict[str, Any] = {"bottom_up": bottom_up, "n_noisy": n_noisy}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    score = metrics.mprt(model, saliency, inputs(), **options)
    assert score.curve is not None
    assert score.curve.shape == (6, 3)  # a layer at each point
    assert score.values.abs().mean() < 0.35
    assert torch.equal(score.values, score.curve[:, -1])
    for name, t in model.state_dict().items():
        assert torch.equal(t, before[name])
    torch.set_rng_state(state)
    assert torch.equal(metrics.mprt(model, saliency, inputs(), **options).values, score.values)


def test_attributions_of_the_input_alone_do_not_change() -> None:
    score = metrics.mprt(network(), lambda _model, x: x.abs(), inputs())
    assert score.curve is not None
    torch.testing.assert_close(score.curve, torch.ones(6, 3))
    rise = metrics.emprt(network(), lambda _model, x: x.abs(), inputs(), n_models=3)
    assert not rise.values.any()
    assert rise.standard_error is not None
    assert not rise.standard_error.any()


def test_complexity_rises_when_a_sparse_model_becomes_random() -> None:
    model = nn.Linear(200, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, 3] = 5
    x = torch.randn(4, 200)
    rise = metrics.emprt(model, saliency, x, n_models=4)
    assert (rise.values > 10).all()
    single = metrics.emprt(model, saliency, x)
    assert single.standard_error is not None
    assert single.standard_error.isinf().all()


def test_inputs_of_several_tensors() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(self.a(x)) + self.b(y)

    pair = (torch.randn(3, 5), torch.randn(3, 4))
    for n_noisy in (0, 2):
        score = metrics.mprt(Two().eval(), saliency, pair, n_noisy=n_noisy)
        assert score.values.shape == (3,)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(InvalidInput, match="n_noisy is -1"):
        metrics.mprt(network(), saliency, inputs(), n_noisy=-1)
    with pytest.raises(InvalidInput, match="n_models is 0"):
        metrics.emprt(network(), saliency, inputs(), n_models=0)
    with pytest.raises(InvalidInput, match="model is without parameters"):
        metrics.mprt(nn.Tanh(), lambda _model, x: x, inputs())
    with pytest.raises(InvalidInput, match="attributions is"):
        metrics.mprt(network(), lambda _model, x: x.sum(), inputs())
