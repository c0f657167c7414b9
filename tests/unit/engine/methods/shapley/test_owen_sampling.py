"""Owen sampling: what it asks for and what it says on the way."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import Attribution, Explicand, Site, StopReason, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.owen_sampling import OwenSampling
from tests.games import as_model, coalitions, gap, noise
from tests.models import mlp, numbers

PLAYERS = 8
EXPLICAND = Explicand.of(torch.ones(1, PLAYERS, dtype=torch.float64))


@pytest.mark.parametrize("n_samples", [1, 3, 8])
def test_completeness_is_exact_after_any_number_of_coalitions(n_samples: int) -> None:
    worths = noise(PLAYERS, 0)
    answer = explain(as_model(worths), OwenSampling(n_samples), EXPLICAND)
    assert float(answer.values[0].sum()) == pytest.approx(float(worths[-1] - worths[0]), abs=1e-12)


def test_one_pair_of_coalitions_tells_no_error() -> None:
    answer = explain(as_model(noise(PLAYERS, 0)), OwenSampling(2), EXPLICAND)
    assert answer.standard_error is not None
    assert answer.standard_error.isinf().all()


def test_a_coalition_and_its_complement_solve_games_of_two_player_terms() -> None:
    z = coalitions(PLAYERS)
    terms = torch.randn(PLAYERS, PLAYERS, dtype=torch.float64)
    worths = ((z @ terms) * z).sum(1) + z @ terms[0]
    answer = explain(as_model(worths), OwenSampling(2), EXPLICAND)
    torch.testing.assert_close(answer.values[0], shapley_values(worths[None]))


def test_each_coalition_is_evaluated_and_with_each_feature_toggled() -> None:
    answer = explain(mlp(), OwenSampling(10), Explicand.of(numbers(3, 8), target=0))
    assert answer.rows_used == 3 * (2 + 10 * 9)


def test_an_odd_number_of_coalitions_is_rounded_up() -> None:
    explicand = Explicand.of(numbers(1, 8), target=0)
    odd = explain(mlp(), OwenSampling(9), explicand)
    even = explain(mlp(), OwenSampling(10), explicand)
    torch.testing.assert_close(odd.values[0], even.values[0], rtol=1e-12, atol=1e-12)


def test_where_all_coalitions_cost_no_more_the_values_are_exact() -> None:
    worths = noise(4, 0)
    explicand = Explicand.of(torch.ones(1, 4, dtype=torch.float64))
    answer = explain(as_model(worths), OwenSampling(), explicand)
    torch.testing.assert_close(answer.values[0], shapley_values(worths[None]))
    assert answer.standard_error is not None
    assert answer.standard_error.tolist() == [0]
    assert answer.rows_used == 16


def test_the_ends_are_told() -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(3, 8, seed=1)
    answer = explain(model, OwenSampling(6), Explicand.of(x, target=2, baselines=x0))
    with torch.no_grad():
        torch.testing.assert_close(answer.output, model(x)[:, 2])
        torch.testing.assert_close(answer.baseline_output, model(x0)[:, 2])


def test_answers_on_the_way_get_more_exact_and_are_complete() -> None:
    reported: list[Attribution] = []
    explicand = Explicand.of(numbers(1, 30), target=0)
    explain(mlp(30), OwenSampling(400), explicand, on_progress=reported.append)
    found = [answer.standard_error for answer in reported]
    errors = [float(each.max()) for each in found if each is not None]
    assert len(errors) == len(reported) >= 4
    assert errors[-1] < errors[0] / 3
    for answer in reported:
        torch.testing.assert_close(answer.values[0].sum(1), gap(answer))


def test_a_budget_gives_the_best_answer_so_far() -> None:
    explicand = Explicand.of(numbers(1, 30), target=0)
    answer = explain(mlp(30), OwenSampling(400), explicand, max_rows=2000)
    assert answer.stop_reason is StopReason.BUDGET
    assert 0 < answer.rows_used <= 2000
    assert answer.standard_error is not None
    assert bool(answer.standard_error.isfinite().all())


def test_many_features_take_no_memory_for_coalitions() -> None:
    x = torch.rand(1, 2000)
    answer = explain(lambda x: x.sum(1), OwenSampling(2), Explicand.of(x), batch_rows=256)
    torch.testing.assert_close(answer.values[0], x, rtol=1e-2, atol=1e-3)


def test_layers_are_explained() -> None:
    explicand = Explicand.of(numbers(2, 8), target=0, at=Site("1"))
    answer = explain(mlp(), OwenSampling(4), explicand)
    assert answer.values[0].shape == answer.standard_errors[0].shape == (2, 16)
    torch.testing.assert_close(answer.values[0].sum(1), gap(answer))
