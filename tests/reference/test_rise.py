"""RISE against slow transcriptions of its paper and against sums over all masks."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Attribution, EveryOutput, Explicand, Site, explain
from adcaptum.engine.methods.perturbation.random_masks import GridMasks
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers, text_classifier

CPU = torch.device("cpu")


def rise(**parameters: object) -> object:
    return resolve(METHODS["rise"], parameters)


def enlarged(grid: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation between the centres of pixels, the border's beyond them."""
    made = torch.zeros(height, width)
    rows, columns = grid.shape
    for i, j in product(range(height), range(width)):
        y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
        x = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
        top, left = int(y), int(x)
        down, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
        upper = grid[top, left] * (1 - (x - left)) + grid[top, right] * (x - left)
        lower = grid[down, left] * (1 - (x - left)) + grid[down, right] * (x - left)
        made[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return made


def every_mask() -> list[Tensor]:
    """Section 3.2, step by step: all masks of 2x2 cells over images of 4x4, all as likely."""
    masks = []
    for bits in product((0.0, 1.0), repeat=4):
        large = enlarged(torch.tensor(bits).view(2, 2), 3 * 2, 3 * 2)
        masks += [large[i : i + 4, j : j + 4] for i in range(2) for j in range(2)]
    return masks


def test_masks_are_enlarged_grids_cut_at_random() -> None:
    possible = torch.stack(every_mask())
    drawn = GridMasks((3, 4, 4), 2, 0.5, 5, 1).take(0, 6400, CPU)
    assert drawn.shape == (6400, 1, 4, 4)
    distances = (drawn - possible).abs().amax((2, 3))
    assert float(distances.amin(1).max()) < 1e-6
    # Several grids and shifts may give the same mask: those count together.
    same = (possible[:, None] - possible).abs().amax((2, 3)) < 1e-6
    found = Counter(distances.argmin(1).tolist())
    for i, together in enumerate(same):
        if int(together.nonzero()[0]) == i:
            expected = 100 * int(together.sum())
            assert abs(found[i] - expected) < 5 * expected**0.5


def test_masks_show_the_share_that_is_asked_for() -> None:
    masks = GridMasks((1, 13, 9), 5, 0.3, 0, 1).take(0, 4000, CPU)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert float((masks.mean(0) - 0.3).abs().max()) < 5 * 0.46 / 4000**0.5


def test_masks_do_not_depend_on_how_they_are_taken() -> None:
    masks = GridMasks((1, 9, 9), 7, 0.5, 3, 1)
    assert torch.equal(masks.take(0, 10, CPU)[4:7], masks.take(4, 7, CPU))


def test_the_values_are_those_of_equation_6() -> None:
    model, x, x0 = cnn(), numbers(2, 1, 8, 8), numbers(2, 1, 8, 8, seed=1)
    explicand = Explicand.of(x, target=[2, 0], baselines=x0, seed=4)
    ours = explain(model, rise(n_samples=40, cells=3, share=0.4), explicand)  # type: ignore[arg-type]
    masks = GridMasks((1, 8, 8), 3, 0.4, 4, 29).take(0, 40, CPU).double()
    for e, target in enumerate((2, 0)):
        parts = []
        for mask in masks:
            with torch.no_grad():
                score = model((mask * x[e] + (1 - mask) * x0[e])[None])[0, target]
            parts.append(score * mask / 0.4)
        each = torch.stack(parts)
        torch.testing.assert_close(ours.values[0][e], each.mean(0))
        errors = each.std(0) / 40**0.5
        torch.testing.assert_close(ours.standard_errors[0][e], errors)
        assert ours.standard_error is not None
        torch.testing.assert_close(ours.standard_error[e], errors.max())
    assert ours.standard_error is not None


def test_the_values_lie_around_the_mean_over_all_masks() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)).eval()
    x = numbers(1, 2, 4, 4).float()
    with torch.no_grad():
        exact = sum(model(x * m)[0, 1] * m / 0.5 for m in every_mask()) / 64
    ours = explain(model, rise(n_samples=3000, cells=2), Explicand.of(x, target=1))  # type: ignore[arg-type]
    off = (ours.values[0][0] - exact) / ours.standard_errors[0][0]
    assert float(off.abs().max()) < 4.5
    assert float(off.abs().max()) > 0.1
    assert torch.equal(ours.values[0][0, 0], ours.values[0][0, 1])


def test_of_vectors_each_element_is_shown_or_not() -> None:
    model, x, x0 = mlp(), numbers(1, 8), numbers(1, 8, seed=1)
    exact = torch.zeros(8).double()
    with torch.no_grad():
        for bits in product((0.0, 1.0), repeat=8):
            shown = torch.tensor(bits).double()
            weight = 0.3 ** shown.sum() * 0.7 ** (8 - shown.sum())
            exact += weight * model(shown * x + (1 - shown) * x0)[0, 1] * shown / 0.3
    explicand = Explicand.of(x, target=1, baselines=x0)
    ours = explain(model, rise(n_samples=3000, share=0.3), explicand)  # type: ignore[arg-type]
    off = (ours.values[0][0] - exact) / ours.standard_errors[0][0]
    assert 0.1 < float(off.abs().max()) < 4.5


def test_token_ids_stay_whole() -> None:
    ids = torch.tensor([[1, 4, 7], [2, 2, 5]])
    explicand = Explicand.of(
        ids, target=1, baselines=0, additional_forward_args=(torch.ones(2, 3),)
    )
    ours = explain(text_classifier(), rise(n_samples=16), explicand)  # type: ignore[arg-type]
    assert ours.values[0].shape == (2, 3)
    assert ours.values[0].dtype == torch.float64


def test_features_of_a_mask_are_shown_together() -> None:
    mask = torch.arange(8).view(1, 1, 8, 1) // 4
    explicand = Explicand.of(numbers(2, 1, 8, 8), target=1, feature_mask=mask)
    ours = explain(cnn(), rise(n_samples=16), explicand)  # type: ignore[arg-type]
    assert ours.values[0].shape == (2, 1, 8, 8)
    assert len(ours.values[0][0].unique()) == 2


def test_the_maps_of_a_layer_can_be_masked() -> None:
    explicand = Explicand.of(numbers(2, 1, 8, 8), target=1, at=Site("0"))
    method = rise(n_samples=16)
    ours = explain(cnn(), method, explicand)  # type: ignore[arg-type]
    assert ours.values[0].shape == (2, 4, 8, 8)


def test_every_output_is_explained_at_the_price_of_one() -> None:
    x, method = numbers(2, 1, 8, 8), rise(n_samples=20)
    every = explain(cnn(), method, Explicand.of(x, target=EveryOutput()))  # type: ignore[arg-type]
    assert every.rows_used == 2 * 21
    for target in range(3):
        one = explain(cnn(), method, Explicand.of(x, target=target))  # type: ignore[arg-type]
        torch.testing.assert_close(every.values[0][target::3], one.values[0])


def test_an_answer_is_reported_after_each_round() -> None:
    reported: list[Attribution] = []
    explicand = Explicand.of(numbers(1, 1, 8, 8), target=1, with_error=False)
    method = rise(n_samples=300)
    explain(cnn(), method, explicand, on_progress=reported.append)  # type: ignore[arg-type]
    assert [each.rows_used for each in reported] == [64, 192, 300]
    errors = [float(each.standard_error) for each in reported if each.standard_error is not None]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("shape", "cells"), [((3, 5, 9), 7), ((1, 2, 2, 6), 4)])
def test_images_of_any_size_are_covered(shape: tuple[int, ...], cells: int) -> None:
    masks = GridMasks(shape, cells, 0.5, 0, 1).take(0, 500, CPU)
    assert masks.shape == (500, *(1,) * (len(shape) - 2), *shape[-2:])
    assert float((masks.mean(0) - 0.5).abs().max()) < 5 * 0.5 / 500**0.5
