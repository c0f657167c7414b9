"""DeepLIFT against slow transcriptions of the paper, unit by unit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

Scalar = Callable[[Tensor], Tensor]


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)
        ).double()


def rescale(z: Tensor, z0: Tensor, f: Scalar, contributions: Tensor) -> Tensor:
    """Equation 10: the same multiplier for every contribution to z."""
    return ((f(z) - f(z0)) / (z - z0)).expand_as(contributions)


def reveal_cancel(z: Tensor, z0: Tensor, f: Scalar, contributions: Tensor) -> Tensor:
    """Section 3.5.3: one multiplier for the positive contributions, one for the negative."""
    plus, minus = contributions.clamp(min=0).sum(), contributions.clamp(max=0).sum()
    y_plus = (f(z0 + plus) - f(z0) + f(z0 + plus + minus) - f(z0 + minus)) / 2
    y_minus = (f(z0 + minus) - f(z0) + f(z0 + plus + minus) - f(z0 + plus)) / 2
    slope = torch.func.grad(f)(z)  # where nothing contributes
    m_plus = y_plus / plus if plus != 0 else slope
    m_minus = y_minus / minus if minus != 0 else slope
    both = torch.where(contributions > 0, m_plus, m_minus)
    return torch.where(contributions == 0, (m_plus + m_minus) / 2, both)


RULES = {"rescale": rescale, "reveal_cancel": reveal_cancel}


@torch.no_grad()
def multipliers(model: nn.Sequential, x: Tensor, x0: Tensor, rule: str) -> Tensor:
    """The chain rule for multipliers (equation 3), by matrices of unit to unit."""
    total: Tensor | None = None
    for layer, activation in [*pairwise(model), (model[-1], nn.Identity())]:
        if not isinstance(layer, nn.Linear):
            continue
        z, z0 = layer(x), layer(x0)
        rows = []
        for j, weights in enumerate(layer.weight):
            contributions = weights * (x - x0)
            rows.append(weights * RULES[rule](z[j], z0[j], activation, contributions))
        matrix = torch.stack(rows)
        total = matrix if total is None else matrix @ total
        x, x0 = activation(z), activation(z0)
    assert total is not None
    return total


@pytest.mark.parametrize("rule", RULES)
def test_multipliers_are_those_of_the_paper(rule: str) -> None:
    model, x, x0 = network(), numbers(3, 6), numbers(3, 6, seed=1)
    x0[0, 2] = x[0, 2]
    method = resolve(METHODS["deep_lift"], {"rule": rule, "multiply_by_inputs": False})
    for target in range(3):
        answer = explain(model, method, Explicand.of(x, target=target, baselines=x0))
        expected = torch.stack(
            [multipliers(model, a, b, rule)[target] for a, b in zip(x, x0, strict=True)]
        )
        torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-12)


def test_reveal_cancel_shares_a_minimum_equally() -> None:
    """Section 3.5.3's example: min(a, b) as a - relu(a - b), of which Rescale sees one input."""
    weight = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    minimum: Scalar = lambda x: x[:, :1] - F.relu(F.linear(x, weight))
    question = Explicand.of(torch.tensor([[2.0, 1.0]], dtype=torch.float64), target=0)
    shared = explain(minimum, resolve(METHODS["deep_lift"], {"rule": "reveal_cancel"}), question)
    torch.testing.assert_close(shared.values[0].tolist(), [[0.5, 0.5]])
    rescaled = explain(minimum, METHODS["deep_lift"](), question)
    torch.testing.assert_close(rescaled.values[0].tolist(), [[0.0, 1.0]])


def quotient(f: Scalar, a: Tensor, b: Tensor) -> Tensor:
    return (f(a) - f(b)) / (a - b)


def test_softmax_is_exp_and_sum_and_logarithm_with_their_quotients() -> None:
    x, x0 = numbers(1, 5), numbers(1, 5, seed=1)
    of_exp = quotient(torch.exp, x[0], x0[0])
    of_log = quotient(torch.log, x[0].exp().sum(), x0[0].exp().sum())
    weights = of_exp * of_log
    log, log0 = x[0].log_softmax(0), x0[0].log_softmax(0)
    matrix = torch.eye(5, dtype=torch.float64) - weights
    method = resolve(METHODS["deep_lift"], {"multiply_by_inputs": False})
    for target in range(5):
        question = Explicand.of(x, target=target, baselines=x0)
        logarithm = explain(lambda t: torch.log_softmax(t, 1), method, question)
        torch.testing.assert_close(logarithm.values[0][0], matrix[target])
        expected = matrix[target] * quotient(torch.exp, log[target], log0[target])
        answer = explain(lambda t: torch.softmax(t, 1), method, question)
        torch.testing.assert_close(answer.values[0][0], expected)


def test_softmax_of_far_and_shifted_logits_is_finite_and_small() -> None:
    x, x0 = numbers(1, 5), numbers(1, 5)
    for shift, scale in ((1000.0, 1.0), (0.0, 300.0)):
        question = Explicand.of(x * scale + shift, target=1, baselines=x0)
        answer = explain(lambda t: torch.softmax(t, 1), METHODS["deep_lift"](), question)
        assert answer.values[0].isfinite().all()
        assert answer.completeness_error is not None
        assert answer.completeness_error.max() < 1e-9
    # Adding a number to all logits changes nothing, and nothing is put down to it.
    question = Explicand.of(x0 + 7, target=1, baselines=x0)
    answer = explain(lambda t: torch.softmax(t, 1), METHODS["deep_lift"](), question)
    expected = (F.one_hot(torch.tensor(1), 5) - x0.softmax(1)) * x0.softmax(1)[:, 1] * 7
    torch.testing.assert_close(answer.values[0], expected)


def test_layer_norm_is_centre_and_square_and_root_with_their_shares() -> None:
    x, x0 = numbers(1, 5), numbers(1, 5, seed=1)

    def by_parts(t: Tensor) -> Tensor:
        centred = t - t.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()

    question = Explicand.of(x, target=3, baselines=x0)
    expected = explain(by_parts, METHODS["deep_lift"](), question)
    answer = explain(lambda t: F.layer_norm(t, (5,)), METHODS["deep_lift"](), question)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-9, atol=1e-12)


def test_a_product_is_shared_by_shapley_values() -> None:
    x = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    x0 = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    question = Explicand.of(x, target=None, baselines=x0)
    games: list[tuple[Scalar, Callable[[float, float], float]]] = [
        (lambda t: t[:, 0] * t[:, 1], lambda a, b: a * b),
        (lambda t: t[:, 0] ** t[:, 1], lambda a, b: a**b),
        (lambda t: torch.hypot(t[:, 0], t[:, 1]), lambda a, b: (a * a + b * b) ** 0.5),
    ]
    for function, value in games:
        first = (value(3, 2) - value(1, 2) + value(3, 5) - value(1, 5)) / 2
        second = (value(1, 5) - value(1, 2) + value(3, 5) - value(3, 2)) / 2
        answer = explain(function, METHODS["deep_lift"](), question)
        torch.testing.assert_close(answer.values[0].tolist(), [[first, second]])


def test_a_quotient_has_the_shares_of_its_product() -> None:
    x = torch.tensor([[3.0, 5.0], [3.0, 5.0]], dtype=torch.float64)
    x0 = torch.tensor([[1.0, 2.0], [1.0, -2.0]], dtype=torch.float64)
    answer = explain(
        lambda t: t[:, 0] / t[:, 1], METHODS["deep_lift"](), Explicand.of(x, baselines=x0)
    )
    middle = (3 / 5 + 1 / 2) / 2
    alike = [(3 - 1) / 3.5, -middle * (5 - 2) / 3.5]
    # Of different signs: the Shapley values.
    first = (3 / -2 - 1 / -2 + 3 / 5 - 1 / 5) / 2
    second = (1 / 5 - 1 / -2 + 3 / 5 - 3 / -2) / 2
    torch.testing.assert_close(answer.values[0].tolist(), [alike, [first, second]])


def test_normalising_a_baseline_of_zeros_gives_no_large_shares() -> None:
    for function in (
        lambda t: F.layer_norm(t, (5,)),
        lambda t: F.rms_norm(t, (5,)),
        F.normalize,
    ):
        answer = explain(function, METHODS["deep_lift"](), Explicand.of(numbers(3, 5), target=1))
        assert answer.completeness_error is not None
        assert answer.completeness_error.max() < 1e-12
        assert answer.values[0].abs().max() < 10


def test_a_maximum_is_put_down_to_the_element_that_has_changed_it() -> None:
    pool: Scalar = lambda t: F.max_pool1d(t[:, None], 3, 2, 1).flatten(1)
    x = torch.tensor([[1.0, 4.0, 2.0, 0.0, 0.5]], dtype=torch.float64)
    x0 = torch.tensor([[3.0, 1.0, 2.0, 6.0, 0.0]], dtype=torch.float64)
    # The windows are 01, 123 and 34. Of the first the row's largest element, number 1, has risen;
    # of the others the reference's largest, number 3, has fallen from 6.
    expected = [[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0, 0.0], [0.0, 0.0, 0.0, -5.5, 0.0]]
    for target in range(3):
        question = Explicand.of(x, target=target, baselines=x0)
        answer = explain(pool, METHODS["deep_lift"](), question)
        torch.testing.assert_close(answer.values[0][0].tolist(), expected[target])
    # Windows that overlap add up.
    summed = explain(
        lambda t: pool(t).sum(1), METHODS["deep_lift"](), Explicand.of(x, baselines=x0)
    )
    torch.testing.assert_close(summed.values[0][0].tolist(), [0.0, 1.0, 0.0, -7.5, 0.0])


def test_over_a_background_it_is_the_mean_of_the_pairs() -> None:
    model, x, background = network(), numbers(3, 6), numbers(4, 6, seed=1)
    question = Explicand.of(x, target=[0, 2, 1], baselines=background, background=True)
    pairs = [
        explain(
            model,
            METHODS["deep_lift"](),
            Explicand.of(x, target=[0, 2, 1], baselines=background[i : i + 1]),
        )
        for i in range(4)
    ]
    expected = torch.stack([p.values[0] for p in pairs]).mean(0)
    for batch_rows in (None, 1, 5):
        answer = explain(model, METHODS["deep_lift_shap"](), question, batch_rows=batch_rows)
        torch.testing.assert_close(answer.values[0], expected, rtol=1e-10, atol=1e-12)
        assert answer.completeness_error is not None
        assert answer.completeness_error.max() < 1e-12
    assert METHODS["deep_lift_shap"]().rows(question) == 3 * 4 + 4


def test_half_precision_is_close_to_double() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8), nn.Softmax(1)
        )
    x, x0 = numbers(3, 6).float(), torch.zeros(1, 6)
    expected = explain(model, METHODS["deep_lift"](), Explicand.of(x, target=1, baselines=x0))
    for dtype in (torch.bfloat16, torch.float16):
        half = Explicand.of(x.to(dtype), target=1, baselines=x0)
        answer = explain(model.to(dtype), METHODS["deep_lift"](), half)
        assert answer.values[0].dtype == torch.float32
        scale = expected.values[0].abs().max()
        assert (answer.values[0] - expected.values[0]).abs().max() < 0.05 * scale
        model.float()
