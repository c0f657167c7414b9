"""Blur-integrated gradients against slow transcriptions: the blur, its way, the integral on it."""

from __future__ import annotations

from itertools import product
from math import exp

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.paths.blur import (
    Blurred,
    Spectra,
    cosine_transform,
    inverse_cosine_transform,
)
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers, signals, text_classifier, two_inputs

NAME = "blur_integrated_gradients"


def blurred(x: Tensor, sigma: float, axes: int) -> Tensor:
    """Convolves with the normalised Gaussian along each of the last axes, mirrored at borders."""
    for axis in range(x.dim() - axes, x.dim()):
        length = x.shape[axis]
        made = torch.zeros_like(x)
        reach = int(9 * sigma) + 2
        weights = [exp(-(m**2) / (2 * sigma**2)) for m in range(-reach, reach + 1)]
        for i, m in product(range(length), range(-reach, reach + 1)):
            place = (i + m) % (2 * length)
            source = place if place < length else 2 * length - 1 - place
            share = weights[m + reach] / sum(weights)
            made.select(axis, i).add_(x.select(axis, source) * share)
        x = made
    return x


@pytest.mark.parametrize("shape", [(3, 5, 4), (7,), (2, 6)])
@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.5, 9.0])
def test_the_blur_is_a_convolution_with_a_gaussian(shape: tuple[int, ...], sigma: float) -> None:
    x, axes = numbers(2, *shape), 2 if len(shape) == 3 else 1
    rows = Blurred((x,), Spectra.of((x,), None), torch.tensor([11, sigma], dtype=torch.float64))
    (made,) = rows.block(1, 2, 1, 2)
    torch.testing.assert_close(made[0, 0], blurred(x[1], sigma, axes), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.3, 0.9, 4.0])
def test_the_slope_is_the_derivative_by_the_scale(sigma: float) -> None:
    x, step = numbers(1, 2, 5, 4), 1e-5
    near = torch.tensor([sigma - step, sigma, sigma + step], dtype=torch.float64)
    spectra = Spectra.of((x,), None)
    (rows,) = Blurred((x,), spectra, near).block(0, 1, 0, 3)
    (slopes,) = Blurred((x,), spectra, near, slope=True).block(0, 1, 0, 3)
    torch.testing.assert_close(
        slopes[0, 1], (rows[0, 2] - rows[0, 0]) / (2 * step), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_the_cosine_transform_is_the_sum_of_cosines(length: int) -> None:
    x = numbers(3, length, 2)
    places = torch.arange(length, dtype=torch.float64)
    waves = torch.cos(torch.pi / length * places[:, None] * (places + 0.5))
    transformed = cosine_transform(x, 1)
    torch.testing.assert_close(transformed, torch.einsum("kn,bnc->bkc", waves, x))
    torch.testing.assert_close(inverse_cosine_transform(transformed, 1), x)


def test_volumes_are_blurred_in_three_dimensions() -> None:
    x = numbers(1, 2, 3, 4, 3)
    rows = Blurred((x,), Spectra.of((x,), 3), torch.tensor([0.8], dtype=torch.float64))
    (made,) = rows.block(0, 1, 0, 1)
    torch.testing.assert_close(made[0, 0], blurred(x[0], 0.8, 3), rtol=1e-10, atol=1e-10)


def test_at_scale_0_an_example_is_itself() -> None:
    x = numbers(2, 1, 7, 5).float()
    (rows,) = Blurred((x,), Spectra.of((x,), None), torch.zeros(1).double()).block(0, 2, 0, 1)
    assert torch.equal(rows[:, 0], x)


def test_the_values_are_the_integral_on_the_way_into_focus() -> None:
    model, x = cnn(), numbers(1, 1, 8, 8)
    scales = torch.linspace(2, 0, 401, dtype=torch.float64).tolist()
    way = torch.cat([blurred(x, max(s, 1e-2), 2) for s in scales])
    middle = ((way[1:] + way[:-1]) / 2).requires_grad_()
    (gradients,) = torch.autograd.grad(model(middle)[:, 2].sum(), middle)
    expected = (gradients * (way[1:] - way[:-1])).sum(0)
    method = resolve(METHODS[NAME], {"n_steps": 400, "method": "riemann_middle"})
    ours = explain(model, method, Explicand.of(x, target=2))
    torch.testing.assert_close(ours.values[0][0], expected, rtol=1e-3, atol=1e-4)
    assert ours.baseline_output is not None
    torch.testing.assert_close(ours.baseline_output, model(way[:1])[:, 2].detach())


@pytest.mark.parametrize("at", [None, "1"])
def test_the_values_sum_to_what_focus_brings(at: str | None) -> None:
    model, x = mlp(), numbers(3, 8)
    explicand = (
        Explicand.of(x, target=[0, 1, 2])
        if at is None
        else Explicand.of(x, target=[0, 1, 2], at=Site(at))
    )
    ours = explain(model, METHODS[NAME](), explicand)
    assert ours.completeness_error is not None
    assert float(ours.completeness_error.max()) < 1e-4
    assert float(ours.values[0].sum(1).abs().min()) > 1e-2
    assert ours.output is not None
    torch.testing.assert_close(ours.output, model(x)[[0, 1, 2], [0, 1, 2]].detach())


def test_a_wide_blur_leaves_the_mean() -> None:
    model, x = signals(), numbers(2, 8)
    ours = explain(model, resolve(METHODS[NAME], {"max_sigma": 50.0}), Explicand.of(x, target=1))
    flat = x.mean(1, keepdim=True).expand_as(x)
    assert ours.baseline_output is not None
    torch.testing.assert_close(ours.baseline_output, model(flat)[:, 1].detach())


def test_of_several_inputs_all_come_into_focus_together() -> None:
    inputs, weight = (numbers(2, 4), numbers(2, 3, seed=1)), torch.ones(2)
    explicand = Explicand.of(inputs, target=1, additional_forward_args=(weight,))
    ours = explain(two_inputs(), METHODS[NAME](), explicand)
    assert [v.shape for v in ours.values] == [(2, 4), (2, 3)]
    assert ours.completeness_error is not None
    assert float(ours.completeness_error.max()) < 1e-4


def test_half_precision_gives_float32() -> None:
    model, x = cnn(), numbers(1, 1, 8, 8)
    exact = explain(model, METHODS[NAME](), Explicand.of(x, target=2))
    half = explain(cnn().bfloat16(), METHODS[NAME](), Explicand.of(x.bfloat16(), target=2))
    assert half.values[0].dtype == torch.float32
    torch.testing.assert_close(half.values[0].double(), exact.values[0], rtol=0.1, atol=0.01)


def test_too_few_dimensions_are_refused() -> None:
    method = resolve(METHODS[NAME], {"axes": 2})
    with pytest.raises(InvalidArgument, match="2 dimensions or more"):
        explain(mlp(), method, Explicand.of(numbers(1, 8), target=1))


def test_token_ids_do_not_blur() -> None:
    ids = torch.tensor([[1, 4, 7]])
    explicand = Explicand.of(ids, target=1, additional_forward_args=(torch.ones(1, 3),))
    with pytest.raises(InvalidArgument, match="floating-point"):
        explain(text_classifier(), METHODS[NAME](), explicand)
