"""Relevance propagation through whole networks, against transcriptions written layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.backward_rules.lrp import LRP
from adcaptum.engine.rules.lrp.composites import CompositeName
from tests.models import numbers
from tests.relevance_models import seeded


def assert_relevance(model: nn.Module, method: LRP, x: Tensor, expected: Tensor) -> None:
    answer = explain(model, method, Explicand.of(x, target=0))
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-12)


def first_of(y: Tensor) -> Tensor:
    """The target's value, and nothing at the other outputs."""
    return torch.cat([y[:1], torch.zeros_like(y[1:])])


def through_linear(layer: nn.Linear, x: Tensor, R: Tensor) -> Tensor:
    """Epsilon with epsilon 0: R_i = sum_j x_i w_ji / y_j R_j, for one row or more."""
    contributions = x[..., None, :] * layer.weight
    y = contributions.sum(-1) + layer.bias
    return (contributions * (R / y)[..., None]).sum(-2)


def through_max_pool(x: Tensor, R: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """The winner of each window takes its relevance; one element may win several."""
    result = torch.zeros_like(x)
    channels, height, width = x.shape
    for c in range(channels):
        for i in range(R.shape[1]):
            for j in range(R.shape[2]):
                window = [
                    (a, b)
                    for a in range(i * stride - padding, i * stride - padding + size)
                    for b in range(j * stride - padding, j * stride - padding + size)
                    if 0 <= a < height and 0 <= b < width
                ]
                a, b = max(window, key=lambda place: float(x[c, place[0], place[1]]))
                result[c, a, b] += R[c, i, j]
    return result


def through_convolution_plus(layer: nn.Conv2d, x: Tensor, R: Tensor) -> Tensor:
    """ZPlus, sum by sum, for padding 1 and stride 1 (Montavon et al. 2017)."""
    result = torch.zeros_like(x)
    padded = functional.pad(x, (1, 1, 1, 1))
    gathered = torch.zeros_like(padded)
    assert layer.bias is not None
    for o in range(R.shape[0]):
        for i in range(R.shape[1]):
            for j in range(R.shape[2]):
                parts = (padded[:, i : i + 3, j : j + 3] * layer.weight[o]).clamp(min=0)
                z = parts.sum() + layer.bias[o].clamp(min=0)
                if z > 0:
                    gathered[:, i : i + 3, j : j + 3] += parts / z * R[o, i, j]
    result += gathered[:, 1:-1, 1:-1]
    return result


def test_a_convolutional_network_with_overlapping_pools() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(3, 2, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2, 1),
            nn.Flatten(),
            nn.Linear(18, 3),
        )

    model = seeded(make).requires_grad_(requires_grad=False)
    first, _, _, second, _, _, _, last = model.children()
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert isinstance(last, nn.Linear)
    x = numbers(2, 2, 7, 7)
    expected = []
    for row in x:
        a = first(row).relu()
        b = functional.max_pool2d(a, 3, 2, 1)
        c = second(b).relu()
        d = functional.avg_pool2d(c, 2, 1)
        R = through_linear(last, d.flatten(), first_of(last(d.flatten()))).view_as(d)
        pooled = torch.zeros_like(c)
        for i in range(d.shape[1]):
            for j in range(d.shape[2]):
                window = c[:, i : i + 2, j : j + 2]
                share = window / window.sum((1, 2), keepdim=True).clamp(min=1e-300)
                pooled[:, i : i + 2, j : j + 2] += share * R[:, i : i + 1, j : j + 1]
        R = through_convolution_plus(second, b, pooled)
        expected.append(through_convolution_plus(first, row, through_max_pool(a, R, 3, 2, 1)))
    assert_relevance(model, LRP(composite="epsilon_plus"), x, torch.stack(expected))


class Normalised(nn.Module):
    """A layer normalisation, a residual and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(5)
        self.inner = nn.Linear(5, 5)
        self.head = nn.Linear(5, 2)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.inner(self.norm(x)))


def test_a_residual_addition_and_a_layer_normalisation() -> None:
    model = seeded(Normalised).requires_grad_(requires_grad=False)
    assert isinstance(model, Normalised)
    x = numbers(3, 5)
    expected = []
    for row in x:
        n = model.norm(row)
        f = model.inner(n)
        R = through_linear(model.head, row + f, first_of(model.head(row + f)))
        direct, branch = row / (row + f) * R, f / (row + f) * R
        branch = through_linear(model.inner, n, branch)
        scale = model.norm.weight / torch.sqrt(row.var(correction=0) + model.norm.eps)
        normalised = torch.zeros(5, dtype=torch.float64)
        for i in range(5):
            for j in range(5):
                part = row[i] * ((i == j) - 1 / 5) * scale[j]
                normalised[i] += part / n[j] * branch[j]
        expected.append(direct + normalised)
    assert_relevance(model, LRP(composite="epsilon"), x, torch.stack(expected))


class Head(nn.Module):
    """One head of attention over (rows, time, features), and the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 3) for _ in range(3))
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        return self.out(mixed[:, 0])


@pytest.mark.parametrize("composite", ["attn_lrp", "epsilon"])
def test_a_head_of_attention(composite: CompositeName) -> None:
    model = seeded(Head).requires_grad_(requires_grad=False)
    assert isinstance(model, Head)
    x = numbers(2, 4, 4)
    expected = []
    for row in x:
        q, k, v = model.q(row), model.k(row), model.v(row)
        scores = q @ k.t() / 3**0.5
        weights = scores.softmax(-1)
        mixed = weights @ v
        R = through_linear(model.out, mixed[0], first_of(model.out(mixed[0])))
        part = 0.5 if composite == "attn_lrp" else 1.0
        of_v, of_weights = torch.zeros_like(v), torch.zeros_like(weights)
        for i in range(4):
            for p in range(3):
                share = weights[0, i] * v[i, p] / mixed[0, p] * R[p]
                of_v[i, p] += part * share
                of_weights[0, i] += part * share
        result = through_linear(model.v, row, of_v)
        if composite == "attn_lrp":
            of_scores = torch.zeros_like(scores)
            for i in range(4):
                rest = of_weights[0, i] - weights[0, i] * of_weights[0].sum()
                of_scores[0, i] = scores[0, i] * rest
            of_q, of_k = torch.zeros_like(q), torch.zeros_like(k)
            for i in range(4):
                for p in range(3):
                    share = q[0, p] * k[i, p] / 3**0.5 / scores[0, i] * of_scores[0, i] / 2
                    of_q[0, p] += share
                    of_k[i, p] += share
            result = result + through_linear(model.q, row, of_q)
            result = result + through_linear(model.k, row, of_k)
        expected.append(result)
    assert_relevance(model, LRP(composite=composite), x, torch.stack(expected))
