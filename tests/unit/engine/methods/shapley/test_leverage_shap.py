"""Leverage SHAP: what it asks for and what it refuses."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import Attribution, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.shapley.kernel_shap import KernelShap
from adcaptum.engine.methods.shapley.leverage_shap import LeverageShap
from tests.games import as_model, coalitions, gap, smooth
from tests.models import mlp, numbers


def test_additive_games_are_solved_by_any_sample() -> None:
    weights = torch.randn(12, dtype=torch.float64)
    explicand = Explicand.of(torch.ones(1, 12, dtype=torch.float64))
    answer = explain(as_model(coalitions(12) @ weights), LeverageShap(48), explicand)
    torch.testing.assert_close(answer.values[0][0], weights)
    assert answer.standard_error is not None
    assert float(answer.standard_error) < 1e-10


@pytest.mark.parametrize("n_samples", [120, 121])
def test_as_many_coalitions_are_evaluated_as_said_beside_none_and_all(n_samples: int) -> None:
    answer = explain(mlp(), LeverageShap(n_samples), Explicand.of(numbers(3, 8), target=0))
    assert answer.rows_used == 3 * (120 + 2)


def test_sizes_in_the_middle_get_more_than_kernel_shap_gives_them() -> None:
    explicand = Explicand.of(torch.ones(1, 40, dtype=torch.float64))

    def middle(method: KernelShap | LeverageShap) -> int:
        seen: list[torch.Tensor] = []

        def model(x: torch.Tensor) -> torch.Tensor:
            seen.append(x.sum(1))
            return x[:, 0]

        explain(model, method, explicand)
        sizes = torch.cat(seen)
        return int(((sizes > 10) & (sizes < 30)).sum())

    # Of 39 sizes 19 are in the middle.
    assert middle(LeverageShap(780)) == pytest.approx(380, abs=4)
    assert middle(KernelShap(780)) < 300


def test_answers_on_the_way_are_complete() -> None:
    reported: list[Attribution] = []
    explicand = Explicand.of(torch.ones(1, 12, dtype=torch.float64))
    explain(as_model(smooth(12, 0)), LeverageShap(2000), explicand, on_progress=reported.append)
    assert len(reported) >= 3
    for answer in reported:
        torch.testing.assert_close(answer.values[0].sum(1), gap(answer))


def test_another_method_with_the_same_seed_has_a_plan_of_its_own() -> None:
    explicand = Explicand.of(numbers(1, 12), target=0)
    leverage = explain(mlp(12), LeverageShap(60), explicand)
    kernel = explain(mlp(12), KernelShap(60), explicand)
    assert not torch.equal(leverage.values[0], kernel.values[0])


def test_layers_are_explained() -> None:
    explicand = Explicand.of(numbers(2, 8), target=0, at=Site("1"))
    answer = explain(mlp(), LeverageShap(100), explicand)
    assert answer.values[0].shape == answer.standard_errors[0].shape == (2, 16)
    torch.testing.assert_close(answer.values[0].sum(1), gap(answer))


def test_too_few_samples_and_too_many_features_are_refused_under_its_name() -> None:
    with pytest.raises(InvalidArgument, match="too few for 12 features"):
        LeverageShap(20).rows(Explicand.of(numbers(1, 12), target=0))
    with pytest.raises(InvalidArgument, match="for leverage_shap"):
        LeverageShap().rows(Explicand.of(numbers(1, 1025), target=0))
