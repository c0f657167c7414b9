"""Occlusion gives Captum's numbers."""

from __future__ import annotations

import pytest
import torch
from captum import attr

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.perturbation.occlusion import Occlusion
from tests.models import cnn, mlp, numbers, two_inputs


@pytest.mark.parametrize(
    ("window", "strides"),
    [
        ((1, 3, 3), None),
        ((1, 3, 3), (1, 2, 3)),
        ((1, 5, 4), (1, 3, 3)),
        ((1, 8, 8), (1, 8, 8)),
        ((1, 3, 8), (1, 2, 1)),
    ],
)
def test_images(window: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    x, x0 = numbers(2, 1, 8, 8), numbers(2, 1, 8, 8, seed=1)
    explicand = Explicand.of(x, target=[2, 0], baselines=x0)
    ours = explain(cnn(), Occlusion(window, strides), explicand)
    theirs = attr.Occlusion(cnn()).attribute(x, window, strides, x0, target=[2, 0])
    torch.testing.assert_close(ours.values[0].float(), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 2), (5, 5)])
def test_vectors(window: int, stride: int) -> None:
    x = numbers(3, 8)
    ours = explain(mlp(), Occlusion((window,), (stride,)), Explicand.of(x, target=1))
    theirs = attr.Occlusion(mlp()).attribute(x, (window,), stride, target=1)
    torch.testing.assert_close(ours.values[0].float(), theirs, rtol=1e-5, atol=1e-7)


def test_two_inputs() -> None:
    inputs, weight = (numbers(2, 4), numbers(2, 3, seed=1)), torch.ones(2)
    explicand = Explicand.of(inputs, target=1, additional_forward_args=(weight,))
    ours = explain(two_inputs(), Occlusion((3, 2), (2, 1)), explicand)
    theirs = attr.Occlusion(two_inputs()).attribute(
        inputs, ((3,), (2,)), ((2,), (1,)), target=1, additional_forward_args=(weight,)
    )
    for left, right in zip(ours.values, theirs, strict=True):
        torch.testing.assert_close(left.float(), right, rtol=1e-5, atol=1e-7)
