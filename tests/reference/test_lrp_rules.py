"""The rules of relevance propagation against their definitions, sum by sum, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from adcaptum.engine.rules.lrp.affine_maps import AffineMap, Convolution, Linear, Mixing, Scaling
from adcaptum.engine.rules.lrp.affine_rules import (
    AlphaBeta,
    Bias,
    Epsilon,
    Flat,
    Gamma,
    LayerRule,
    Norm,
    Pass,
    WSquare,
    ZBox,
    ZPlus,
)
from tests.models import numbers

Definition = Callable[[list[list[float]], list[float], list[float], list[float]], list[float]]


def sign(z: float) -> float:
    return -1.0 if z < 0 else 1.0


def up(v: float) -> float:
    return max(v, 0.0)


def down(v: float) -> float:
    return min(v, 0.0)


def in_proportion(
    parts: list[list[float]],
    rests: list[float],
    R: list[float],
    epsilon: float,
    spread_over: list[list[float]] | None = None,
) -> list[float]:
    """R_i = sum_j part_ij / z_j R_j, where z_j = sum_i part_ij + rest_j, stabilised.

    With weights to spread it over, each input with a weight gets an equal part of rest_j / z_j R_j.
    """
    result = [0.0] * len(parts)
    for j, relevance in enumerate(R):
        z = sum(part[j] for part in parts) + rests[j]
        z += epsilon * sign(z)
        for i, part in enumerate(parts):
            result[i] += part[j] / z * relevance
        if spread_over is not None:
            inputs = [i for i, weight in enumerate(spread_over[j]) if weight]
            for i in inputs:
                result[i] += rests[j] / z * relevance / len(inputs)
    return result


def epsilon_rule(epsilon: float, bias: str = "keep") -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        parts = [[x[i] * w[j][i] for j in range(len(R))] for i in range(len(x))]
        rests = [0.0] * len(b) if bias == "ignore" else b
        return in_proportion(parts, rests, R, epsilon, w if bias == "spread" else None)

    return rule


def alpha_beta_rule(alpha: float, beta: float, epsilon: float, bias: str = "keep") -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        every = [[x[i] * w[j][i] for j in range(len(R))] for i in range(len(x))]
        result = [0.0] * len(x)
        for factor, part in ((alpha, up), (-beta, down)):
            parts = [[part(v) for v in row] for row in every]
            rests = [0.0 if bias == "ignore" else part(v) for v in b]
            shares = in_proportion(parts, rests, R, epsilon, w if bias == "spread" else None)
            result = [r + factor * s for r, s in zip(result, shares, strict=True)]
        return result

    return rule


def gamma_rule(gamma: float, epsilon: float, bias: str = "keep") -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        parts = [[0.0] * len(R) for _ in x]
        rests = [0.0] * len(R)
        kept = []
        for j in range(len(R)):
            y = sum(x[i] * w[j][i] for i in range(len(x))) + b[j]
            wanted = up if y > 0 else down
            for i in range(len(x)):
                v = x[i] * w[j][i]
                parts[i][j] = v + gamma * wanted(v)
            rests[j] = 0.0 if bias == "ignore" else b[j] + gamma * wanted(b[j])
            kept.append(R[j] if y else 0.0)
        return in_proportion(parts, rests, kept, epsilon, w if bias == "spread" else None)

    return rule


def box_rule(low: float, high: float, epsilon: float) -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        parts = [
            [x[i] * w[j][i] - low * up(w[j][i]) - high * down(w[j][i]) for j in range(len(R))]
            for i in range(len(x))
        ]
        return in_proportion(parts, [0.0] * len(b), R, epsilon)

    return rule


def square_rule(epsilon: float) -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        parts = [[w[j][i] ** 2 for j in range(len(R))] for i in range(len(x))]
        return in_proportion(parts, [0.0] * len(b), R, epsilon)

    return rule


def flat_rule(connected: list[list[bool]], epsilon: float) -> Definition:
    def rule(w: list[list[float]], b: list[float], x: list[float], R: list[float]) -> list[float]:
        parts = [[float(connected[j][i]) for j in range(len(R))] for i in range(len(x))]
        return in_proportion(parts, [0.0] * len(b), R, epsilon)

    return rule


def convolution(
    weight: Tensor, bias: Tensor | None, *, transpose: bool = False, groups: int = 1
) -> Convolution:
    dims = weight.dim() - 2
    return Convolution(
        weight, bias, (2,) * dims, (1,) * dims, (1,) * dims, transpose, (0,) * dims, groups
    )


MAPS: dict[str, tuple[AffineMap, tuple[int, ...]]] = {
    "linear": (Linear(numbers(3, 5), numbers(3, seed=1)), (5,)),
    "linear over time": (Linear(numbers(2, 3), numbers(2, seed=1)), (4, 3)),
    "linear without bias": (Linear(numbers(3, 5), None), (5,)),
    "conv1d": (convolution(numbers(3, 2, 3), numbers(3, seed=1)), (2, 5)),
    "conv2d": (convolution(numbers(3, 2, 3, 3), numbers(3, seed=1)), (2, 4, 4)),
    "conv3d": (convolution(numbers(1, 1, 2, 2, 2), numbers(1, seed=1)), (1, 3, 3, 3)),
    "depthwise": (convolution(numbers(4, 1, 3, 3), numbers(4, seed=1), groups=2), (2, 4, 4)),
    "transposed": (convolution(numbers(2, 3, 3, 3), numbers(3), transpose=True), (2, 3, 3)),
    "transposed in groups": (
        convolution(numbers(2, 2, 3, 3), numbers(4), transpose=True, groups=2),
        (2, 3, 3),
    ),
    "batch norm": (Scaling(numbers(3), numbers(3, seed=1), 3), (3, 2)),
    "product": (Mixing(lambda x, w: torch.matmul(w, x), numbers(2, 3)), (3, 2)),
}

RULES: dict[str, tuple[LayerRule, Definition]] = {
    "norm": (Norm(), epsilon_rule(0.0)),
    "z plus": (ZPlus(0.01), alpha_beta_rule(1, 0, 0.01)),
    "w square": (WSquare(0.01), square_rule(0.01)),
}
FATES: tuple[Bias, ...] = get_args(Bias)
for fate in FATES:
    RULES[f"epsilon, biases {fate}"] = (Epsilon(0.01, fate), epsilon_rule(0.01, fate))
    RULES[f"gamma, biases {fate}"] = (Gamma(0.5, 0.01, fate), gamma_rule(0.5, 0.01, fate))
    RULES[f"alpha 2 beta 1, biases {fate}"] = (
        AlphaBeta(2, 1, 0.01, fate),
        alpha_beta_rule(2, 1, 0.01, fate),
    )


def matrix_of(layer: AffineMap, like: Tensor) -> tuple[list[list[float]], list[float], Tensor]:
    """The map as a matrix and a bias, found by giving it one-hot inputs; and its output."""
    one = like[:1]
    basis = torch.eye(one.numel(), dtype=torch.float64).view(-1, *one.shape[1:])
    columns = layer.apply(basis, layer.weight).flatten(1)
    zero = layer.apply(torch.zeros_like(one), layer.weight)
    bias = zero if layer.bias is None else zero + layer.shift(layer.bias)
    y = layer.apply(like, layer.weight)
    y = y if layer.bias is None else y + layer.shift(layer.bias)
    return columns.t().tolist(), bias.flatten().tolist(), y


def assert_is(rule: LayerRule, definition: Definition, layer: AffineMap, x: Tensor) -> None:
    w, b, y = matrix_of(layer, x)
    R = numbers(*y.shape, seed=3)
    got = rule.relevance(layer, x, y if rule.keeps_output else None, R)
    for row in range(len(x)):
        expected = definition(w, b, x[row].flatten().tolist(), R[row].flatten().tolist())
        torch.testing.assert_close(
            got[row].flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_what_its_definition_says_for_inputs_of_either_sign(name: str, kind: str) -> None:
    layer, shape = MAPS[kind]
    assert_is(*RULES[name], layer, numbers(2, *shape, seed=2))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_what_its_definition_says_for_inputs_that_are_not_negative(name: str) -> None:
    layer, shape = MAPS["conv2d"]
    assert_is(*RULES[name], layer, numbers(2, *shape, seed=2).clamp(min=0))


@pytest.mark.parametrize("kind", ["linear", "conv2d", "transposed", "depthwise"])
def test_z_box_is_what_its_definition_says(kind: str) -> None:
    layer, shape = MAPS[kind]
    x = numbers(2, *shape, seed=2)
    assert_is(ZBox(-3.0, 4.0, 0.01), box_rule(-3.0, 4.0, 0.01), layer, x)


def test_z_box_takes_its_bounds_from_each_row_by_default() -> None:
    layer, shape = MAPS["conv2d"]
    x = numbers(3, *shape, seed=2)
    R = numbers(*layer.apply(x, layer.weight).shape)
    together = ZBox().relevance(layer, x, None, R)
    for i in range(3):
        row = x[i : i + 1]
        alone = ZBox(float(row.min()), float(row.max())).relevance(layer, row, None, R[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "conv2d", "transposed", "batch norm"])
def test_flat_gives_every_input_of_a_neuron_the_same(kind: str) -> None:
    layer, shape = MAPS[kind]
    x = numbers(2, *shape, seed=2)
    # No weight is exactly 0, so that the matrix says what is connected.
    connected = [[v != 0 for v in row] for row in matrix_of(layer, x)[0]]
    assert_is(Flat(0.01), flat_rule(connected, 0.01), layer, x)


def test_pass_hands_relevance_on() -> None:
    layer = Linear(numbers(3, 3), None)
    R = numbers(2, 3)
    assert torch.equal(Pass().relevance(layer, numbers(2, 3), None, R), R)


@pytest.mark.parametrize("bias", ["spread", "ignore"])
@pytest.mark.parametrize("rule", [Epsilon, ZPlus, AlphaBeta, Gamma])
def test_relevance_is_conserved_where_no_bias_keeps_any(
    rule: type[Epsilon | ZPlus | AlphaBeta | Gamma], bias: Bias
) -> None:
    layer, shape = MAPS["conv2d"]
    x = numbers(2, *shape, seed=2)
    _, _, y = matrix_of(layer, x)
    R = numbers(*y.shape, seed=3)
    got = rule(bias=bias).relevance(layer, x, y, R)
    torch.testing.assert_close(got.flatten(1).sum(1), R.flatten(1).sum(1), rtol=1e-9, atol=1e-9)
