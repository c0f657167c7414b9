"""ROAD: pixels are filled in as the linear equations say, and the output is read there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import metrics
from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.metrics.imputation import filled

X = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0))


def solved(image: Tensor, missing: Tensor) -> Tensor:
    """One channel, by a matrix of the equations, written out."""
    height, width = image.shape
    pixels = height * width
    matrix, known = torch.zeros(pixels, pixels, dtype=torch.float64), image.double().flatten()
    right = torch.zeros(pixels, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            at = i * width + j
            if not missing[i, j]:
                matrix[at, at], right[at] = 1, known[at]
                continue
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    inside = 0 <= i + di < height and 0 <= j + dj < width
                    if inside and (di or dj):
                        weight = 1 / 12 if di and dj else 1 / 6
                        matrix[at, at] += weight
                        matrix[at, (i + di) * width + j + dj] -= weight
    return torch.linalg.solve(matrix, right).view(height, width)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_missing_pixels_solve_the_equations(share: float) -> None:
    missing = torch.rand(3, 1, 6, 5, generator=torch.Generator().manual_seed(1)) < share
    missing[:, :, 2, 3] = False  # something is known
    found = filled(X, missing)
    for i in range(3):
        for channel in range(2):
            expected = solved(X[i, channel], missing[i, 0])
            torch.testing.assert_close(found[i, channel].double(), expected, atol=1e-4, rtol=1e-4)
    alone = torch.cat([filled(X[i : i + 1], missing[i : i + 1]) for i in range(3)])
    assert torch.equal(alone, found)


def test_nothing_missing_and_plain_surfaces_stay_as_they_are() -> None:
    assert torch.equal(filled(X, torch.zeros(3, 1, 6, 5, dtype=torch.bool)), X)
    plain = torch.full((1, 1, 6, 5), 0.7)
    missing = torch.ones(1, 1, 6, 5, dtype=torch.bool)
    missing[..., 0, 0] = False
    torch.testing.assert_close(filled(plain, missing), plain)


def test_the_curve_is_the_output_at_filled_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 3)).eval()
    attributions, target = torch.randn(3, 2, 6, 5), torch.tensor([0, 2, 1])
    score = metrics.road(model, X, attributions, target, shares=(0.2, 0.6), noise=0.0)
    sums = attributions.sum(1).flatten(1)
    for point, removed in enumerate((6, 18)):
        for i in range(3):
            missing = torch.zeros(30, dtype=torch.bool)
            missing[sums[i].argsort(descending=True)[:removed]] = True
            image = torch.stack([solved(X[i, c], missing.view(6, 5)) for c in range(2)]).float()
            expected = model(image[None])[0, target[i]]
            assert score.curve is not None
            torch.testing.assert_close(score.curve[i, point], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(score.values, score.curve.mean(1))  # type: ignore[union-attr]
    one = metrics.road(model, X, attributions.sum(1, True), target, shares=(0.2, 0.6), noise=0.0)
    torch.testing.assert_close(one.values, score.values)


def test_faithful_attributions_lose_more_than_their_opposite() -> None:
    model = lambda x: x[:, :, :3].sum((1, 2, 3))
    images = torch.zeros(2, 1, 6, 5)
    images[:, :, :3] = 1
    exact = images.clone()
    torch.manual_seed(0)
    most = metrics.road(model, images, exact)
    least = metrics.road(model, images, exact, least_first=True)
    assert (least.values > most.values).all()
    torch.manual_seed(0)
    again = metrics.road(model, images, exact)
    assert torch.equal(again.values, most.values)


def test_examples_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 3)).eval()
    attributions = torch.randn(3, 2, 6, 5)
    torch.manual_seed(5)
    whole = metrics.road(model, X, attributions, 1).values
    for i in range(3):
        torch.manual_seed(5)
        row = slice(i, i + 1)
        alone = metrics.road(model, X[row], attributions[row], 1).values
        torch.testing.assert_close(alone, whole[row])


def test_attributions_that_are_no_numbers_have_no_score() -> None:
    attributions = X.clone()
    attributions[1, 0, 0, 0] = torch.nan
    values = metrics.road(lambda x: x.flatten(1).sum(1), X, attributions).values
    assert values.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("shares", [(), (0.0,), (0.5, 1.0)])
def test_wrong_shares_are_named(shares: Any) -> None:
    with pytest.raises(InvalidInput, match="shares is"):
        metrics.road(lambda x: x.sum((1, 2, 3)), X, X, shares=shares)


def test_other_wrong_arguments_are_named() -> None:
    total = lambda x: x.flatten(1).sum(1)
    with pytest.raises(InvalidArgument, match="images"):
        metrics.road(total, X[:, 0], X[:, 0])
    with pytest.raises(InvalidInput, match=r"attributions\[0\] is of shape \(3, 2, 6, 4\)"):
        metrics.road(total, X, X[..., :4])
