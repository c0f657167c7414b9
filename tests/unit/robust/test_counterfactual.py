"""Counterfactuals on tables: they meet the goal, are near, and keep their bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import robust
from adcaptum.attr.errors import InvalidInput


def classifier(features: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 3)).eval()


def rows(count: int = 40, features: int = 6) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(1))


def test_a_linear_models_nearest_row_is_found() -> None:
    """With one feature the nearest row is known: at the border."""
    border = nn.Linear(1, 2)
    with torch.no_grad():
        border.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        border.bias.copy_(torch.tensor([0.0, 1.0]))  # class 0 from x = 0.5
    x = torch.tensor([[-1.0], [0.3], [2.0]])
    found = robust.Counterfactual(border).search(x, 0)
    assert found.found.all()
    torch.testing.assert_close(found.inputs, torch.tensor([[0.5], [0.5], [2.0]]), atol=1e-3, rtol=0)
    assert (border(found.inputs).argmax(1) == 0).all()
    torch.testing.assert_close(found.distance, torch.tensor([1.5, 0.2, 0.0]), atol=1e-3, rtol=0)


def test_every_row_that_was_found_is_the_wanted_class() -> None:
    model, x = classifier(), rows()
    target = (model(x).argmax(1) + 1) % 3
    found = robust.Counterfactual(model).search(x, target, steps=200)
    assert found.found.float().mean() > 0.8
    there = model(found.inputs).argmax(1) == target
    assert torch.equal(there, found.found)
    assert torch.equal(found.inputs[~found.found], x[~found.found])
    torch.testing.assert_close(found.distance, (found.inputs - x).abs().sum(1))
    assert torch.equal(found.changed, found.inputs != x)
    # Nothing can be put back: halfway to the example the answer is another.
    halfway = model((found.inputs + x) / 2).argmax(1) == target
    assert not halfway[found.found].any()


def test_features_are_put_back_where_they_are_not_needed() -> None:
    x = torch.zeros(1, 5)
    model = lambda t: torch.stack([t[:, 0] + 0.01 * t[:, 1:].sum(1) - 1, 0 * t[:, 0]], 1)
    found = robust.Counterfactual(model).search(x, 0)
    assert found.found.all()
    assert found.changed.tolist() == [[True, False, False, False, False]]
    torch.testing.assert_close(found.inputs[0, 0], torch.tensor(1.0), atol=1e-3, rtol=0)


def test_bounds_and_immutable_features_hold() -> None:
    model, x = classifier(), rows().clamp(-1, 1)
    target = (model(x).argmax(1) + 1) % 3
    lower, upper = torch.full((6,), -1.0), torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 2.0])
    search = robust.Counterfactual(model, lower, upper, immutable=[0, -2])
    found = search.search(x, target, steps=300)
    assert 0 < found.found.float().mean() < 1
    assert torch.equal(found.inputs[:, [0, 4]], x[:, [0, 4]])
    assert (found.inputs >= lower).all()
    assert (found.inputs <= upper).all()
    free = robust.Counterfactual(model).search(x, target, steps=300)
    assert free.found.sum() > found.found.sum()


def test_scales_are_the_features_units() -> None:
    """A feature of a thousandfold unit is changed like others."""
    x = torch.zeros(1, 2)
    model = lambda t: torch.stack([t[:, 0] + t[:, 1] / 1000 - 2, 0 * t[:, 0]], 1)
    scales = torch.tensor([1.0, 5000.0])
    found = robust.Counterfactual(model, scales=scales).search(x, 0, steps=200)
    assert found.changed.tolist() == [[False, True]]
    torch.testing.assert_close(found.distance, torch.tensor([0.4]), atol=1e-3, rtol=0)


def test_an_output_within_a_range() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).eval()
    x = rows(20, 4)
    low = float(model(x).detach().quantile(0.8))
    found = robust.Counterfactual(model).search(x, (low, float("inf")), margin=0.01)
    assert found.found.float().mean() > 0.7
    assert (model(found.inputs)[found.found] >= low + 0.0099).all()
    changed = robust.Counterfactual(model).perturb(x, (low, float("inf")), margin=0.01)
    assert torch.equal(changed, found.inputs)


def test_examples_do_not_depend_on_each_other() -> None:
    model, x = classifier(), rows(5)
    target = torch.tensor([0, 1, 2, 0, 1])
    whole = robust.Counterfactual(model).search(x, target)
    for i in range(5):
        alone = robust.Counterfactual(model).search(x[i : i + 1], target[i : i + 1])
        torch.testing.assert_close(alone.inputs[0], whole.inputs[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "target", "words"),
    [
        ({}, 3, "target is 3: a class below 3"),
        ({}, (1.0, 0.0), r"target is \(1.0, 0.0\): \(low, high\)"),
        ({}, (0.0, 1.0), "a class: the model has several outputs"),
        ({"scales": torch.zeros(6)}, 0, "scales is .*: positive"),
        ({"scales": torch.ones(4)}, 0, r"scales is of shape \(4,\)"),
        ({"immutable": [6]}, 0, "immutable is 6"),
        ({"lower_bound": 1.0, "upper_bound": 0.0}, 0, "at most the upper bound"),
    ],
)
def test_wrong_arguments_are_named(make: Any, target: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        robust.Counterfactual(classifier(), **make).search(rows(3), target)


def test_inputs_that_are_no_rows() -> None:
    with pytest.raises(InvalidInput, match=r"inputs is .*: a floating-point tensor"):
        robust.Counterfactual(classifier()).search(torch.ones(2, 6, dtype=torch.int64), 0)
    one = nn.Sequential(classifier(), nn.Linear(3, 1))
    with pytest.raises(InvalidInput, match="a range"):
        robust.Counterfactual(one).search(rows(2), 0)
