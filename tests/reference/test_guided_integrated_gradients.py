"""Guided integrated gradients against its paper's algorithm, element by element."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers, two_inputs

NAME = "guided_integrated_gradients"


def gradient(model: nn.Module, x: list[float], shape: tuple[int, ...], target: int) -> list[float]:
    point = torch.tensor(x, dtype=torch.float64).view(1, *shape).requires_grad_()
    (found,) = torch.autograd.grad(model(point)[0, target], point)
    return [float(g) for g in found.flatten()]


def algorithm_1(
    model: nn.Module, end: Tensor, start: Tensor, target: int, *, steps: int, share: float, d: float
) -> tuple[Tensor, Tensor]:
    """Kapishnikov et al. (2021), algorithm 1: the attributions.

    Once with each step's gradient at its start, as there, and once with the mean of both ends.
    """
    shape = tuple(end.shape)
    xi = [float(v) for v in end.flatten()]
    xb = [float(v) for v in start.flatten()]
    n = len(xi)

    def straight(i: int, alpha: float) -> float:
        return xb[i] + (xi[i] - xb[i]) * alpha

    x = list(xb)
    whole = sum(abs(a - b) for a, b in zip(xi, xb, strict=True))
    at_start, at_both = [0.0] * n, [0.0] * n
    slopes = gradient(model, x, shape, target)
    for step in range(steps):
        before = list(x)
        left = [abs(g) for g in slopes]
        alpha = (step + 1) / steps
        low, high = max(alpha - d, 0.0), min(alpha + d, 1.0)
        wanted = whole * (1 - alpha)
        gamma = inf
        while gamma > 1:
            for i in range(n):
                own = (x[i] - xb[i]) / (xi[i] - xb[i]) if xi[i] != xb[i] else nan
                if own < low:
                    x[i] = straight(i, low)
            distance = sum(abs(a - b) for a, b in zip(xi, x, strict=True))
            if abs(distance - wanted) < 1e-12:
                break
            left = [inf if x[i] == straight(i, high) else left[i] for i in range(n)]
            limit = sorted(left)[int(share * (n - 1))]
            chosen = [i for i in range(n) if left[i] <= limit and left[i] != inf]
            room = sum(abs(x[i] - straight(i, high)) for i in chosen)
            gamma = (distance - wanted) / room if room > 0 else inf
            for i in chosen:
                x[i] = straight(i, high) if gamma > 1 else x[i] + gamma * (straight(i, high) - x[i])
        later = gradient(model, x, shape, target)
        for i in range(n):
            at_start[i] += (x[i] - before[i]) * slopes[i]
            at_both[i] += (x[i] - before[i]) * (slopes[i] + later[i]) / 2
        slopes = later
    return (
        torch.tensor(at_start, dtype=torch.float64).view(shape),
        torch.tensor(at_both, dtype=torch.float64).view(shape),
    )


@pytest.mark.parametrize(
    ("steps", "fraction", "max_dist"),
    [(10, 0.25, 0.02), (7, 0.1, 0.5), (12, 1.0, 1.0), (1, 0.3, 0)],
)
def test_vectors_are_explained_as_the_algorithm_says(
    steps: int, fraction: float, max_dist: float
) -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(3, 8, seed=1)
    x0[0, 2] = x[0, 2]
    method = resolve(METHODS[NAME], {"n_steps": steps, "fraction": fraction, "max_dist": max_dist})
    ours = explain(model, method, Explicand.of(x, target=[0, 2, 1], baselines=x0))
    for i, target in enumerate((0, 2, 1)):
        _, expected = algorithm_1(
            model, x[i], x0[i], target, steps=steps, share=fraction, d=max_dist
        )
        torch.testing.assert_close(ours.values[0][i], expected, rtol=1e-9, atol=1e-10)
    assert ours.values[0][0, 2] == 0


def test_images_are_explained_as_the_algorithm_says() -> None:
    model, x = cnn(), numbers(1, 1, 8, 8)
    method = resolve(METHODS[NAME], {"n_steps": 6, "max_dist": 0.1})
    ours = explain(model, method, Explicand.of(x, target=1))
    _, expected = algorithm_1(model, x[0], torch.zeros_like(x[0]), 1, steps=6, share=0.25, d=0.1)
    torch.testing.assert_close(ours.values[0][0], expected, rtol=1e-9, atol=1e-10)


def test_gradients_at_both_ends_are_the_papers_integral_and_nearer_to_it() -> None:
    model, x, x0 = mlp(), numbers(1, 8), numbers(1, 8, seed=1)
    method = resolve(METHODS[NAME], {"n_steps": 100, "max_dist": 0.1})
    ours = explain(model, method, Explicand.of(x, target=1, baselines=x0))
    papers, _ = algorithm_1(model, x[0], x0[0], 1, steps=100, share=0.25, d=0.1)
    torch.testing.assert_close(ours.values[0][0], papers, rtol=0, atol=0.02)
    with torch.no_grad():
        gap = (model(x) - model(x0))[0, 1]
    off = abs(float(papers.sum() - gap))
    assert ours.completeness_error is not None
    assert float(ours.completeness_error[0]) < off / 10
    assert ours.output is not None
    assert ours.baseline_output is not None
    torch.testing.assert_close((ours.output - ours.baseline_output)[0], gap)


def test_the_error_falls_with_the_square_of_the_steps() -> None:
    explicand = Explicand.of(numbers(4, 8), target=1, baselines=numbers(4, 8, seed=1))
    errors = []
    for steps in (25, 400):
        method = resolve(METHODS[NAME], {"n_steps": steps, "max_dist": 0.0})
        error = explain(mlp(), method, explicand).completeness_error
        assert error is not None
        errors.append(error)
    assert bool((100 * errors[1] < errors[0]).all())


def test_without_leeway_the_way_is_straight() -> None:
    explicand = Explicand.of(numbers(3, 8), target=1, baselines=numbers(3, 8, seed=1))
    guided = explain(mlp(), resolve(METHODS[NAME], {"n_steps": 20, "max_dist": 0.0}), explicand)
    straight = resolve(
        METHODS["integrated_gradients"], {"n_steps": 21, "method": "riemann_trapezoid"}
    )
    expected = explain(mlp(), straight, explicand)
    torch.testing.assert_close(guided.values[0], expected.values[0], rtol=1e-9, atol=1e-10)


def test_several_inputs_go_one_way_together() -> None:
    inputs, weight = (numbers(2, 4), numbers(2, 3, seed=1)), torch.ones(2)
    explicand = Explicand.of(inputs, target=1, additional_forward_args=(weight,))
    ours = explain(two_inputs(), METHODS[NAME](), explicand)
    assert [v.shape for v in ours.values] == [(2, 4), (2, 3)]
    assert ours.completeness_error is not None
    assert float(ours.completeness_error.max()) < 1e-3


def test_a_layers_values_are_explained() -> None:
    model, x = mlp(), numbers(2, 8)
    ours = explain(model, METHODS[NAME](), Explicand.of(x, target=1, at=Site("1")))
    with torch.no_grad():
        gap = (model(x) - model(torch.zeros_like(x)))[:, 1]
    torch.testing.assert_close(ours.values[0].sum(1), gap, rtol=0, atol=1e-3)


def test_half_precision_gives_float32() -> None:
    x = numbers(1, 1, 8, 8).bfloat16()
    ours = explain(cnn().bfloat16(), METHODS[NAME](), Explicand.of(x, target=2))
    assert ours.values[0].dtype == torch.float32
    assert ours.completeness_error is not None
    assert float(ours.completeness_error) < 0.05
