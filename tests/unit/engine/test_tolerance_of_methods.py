"""What every method that takes a tolerance promises, against exact values on small models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import (
    INPUT,
    METHODS,
    BudgetExceeded,
    EveryOutput,
    Explicand,
    Site,
    StopReason,
    explain,
)
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

TAKERS = [name for name, method in METHODS.items() if method.traits.tolerance]
SHAPLEY = ("shapley_value_sampling", "kernel_shap", "leverage_shap", "owen_sampling")
AT_LAYER = ("conductance", "internal_influence", "neuron_conductance", "layer_gradient_shap")
FEATURES = 9
FINE = 0.01


def curved(features: int) -> nn.Sequential:
    """A smooth network whose attributions are far from those of a linear one."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(features, 24), nn.Softplus(beta=8), nn.Linear(24, 2))
    return model.double().eval()


MODEL = curved(FEATURES)
WIDE = curved(20)


def question(name: str, examples: int, **more: Any) -> Explicand:
    """Examples with a baseline, or a background set for methods that are about one."""
    several = name.endswith("shap") and name in {"gradient_shap", "layer_gradient_shap"}
    rows = 3 if several or name == "expected_gradients" else 1
    return Explicand.of(
        numbers(examples, FEATURES) * 2,
        target=1,
        baselines=numbers(rows, FEATURES, seed=5) * 0.3,
        at=Site("0") if name in AT_LAYER else INPUT,
        seed=11,
        background=rows > 1,
        **more,
    )


def method(name: str, **parameters: Any) -> Any:
    return resolve(METHODS[name], parameters)


def truth(name: str, asked: Explicand) -> Tensor:
    """Exact values, or such of many more points than a tolerance of a few percent takes."""
    asked = replace(asked, tolerance=None, with_error=False)
    if name in SHAPLEY:
        return explain(MODEL, method("shapley_values"), asked).values[0]
    if name == "rise":
        return rise_of_all_masks(asked)
    if name in {"smooth_grad", "lime"}:
        many = method(name, n_samples=20_000)
        return explain(MODEL, many, replace(asked, seed=99)).values[0]
    if name in {"gradient_shap", "expected_gradients"}:
        return mean_over_baselines(asked, "integrated_gradients")
    if name == "layer_gradient_shap":
        return layer_mean_over_baselines(asked)
    return explain(MODEL, method(name, n_steps=1000), asked).values[0]


def rise_of_all_masks(asked: Explicand) -> Tensor:
    bits = (torch.arange(1 << FEATURES)[:, None] >> torch.arange(FEATURES) & 1).bool()
    found = []
    assert asked.baselines is not None
    for x in asked.inputs[0]:
        with torch.no_grad():
            outputs = MODEL(torch.where(bits, x, asked.baselines[0]))[:, 1]
        found.append((outputs[:, None] * bits).mean(0) / 0.5)
    return torch.stack(found)


def each_baseline(asked: Explicand) -> list[Explicand]:
    assert asked.baselines is not None
    return [replace(asked, baselines=(row[None],), background=False) for row in asked.baselines[0]]


def mean_over_baselines(asked: Explicand, name: str) -> Tensor:
    each = [explain(MODEL, method(name, n_steps=300), one) for one in each_baseline(asked)]
    return torch.stack([one.values[0] for one in each]).mean(0)


def layer_mean_over_baselines(asked: Explicand) -> Tensor:
    found = []
    for one in each_baseline(asked):
        slopes = explain(MODEL, method("internal_influence", n_steps=300), one).values[0]
        assert one.baselines is not None
        with torch.no_grad():
            steps = MODEL[:1](one.inputs[0]) - MODEL[:1](one.baselines[0])
        found.append(slopes * steps)
    return torch.stack(found).mean(0)


def off_by(answer: Attribution, exact: Tensor) -> Tensor:
    """The relative error, (examples,)."""
    wrong = (answer.values[0] - exact).abs().flatten(1).sum(1)
    return wrong / exact.abs().flatten(1).sum(1)


@pytest.mark.parametrize("name", TAKERS)
def test_the_error_stated_is_within_the_tolerance_and_holds(name: str) -> None:
    asked = question(name, 24, tolerance=0.05)
    answer = explain(MODEL, method(name), asked)
    assert answer.stop_reason is StopReason.CONVERGED
    assert answer.relative_error is not None
    assert answer.relative_error.shape == (24,)
    assert bool((answer.relative_error <= 0.05).all())
    assert int((off_by(answer, truth(name, asked)) > 0.05).sum()) <= 1


@pytest.mark.parametrize("name", TAKERS)
def test_a_finer_tolerance_takes_more_rows_and_is_nearer(name: str) -> None:
    coarse, fine = (
        explain(MODEL, method(name), question(name, 4, tolerance=t)) for t in (0.3, 0.02)
    )
    assert coarse.rows_used < fine.rows_used
    exact = truth(name, question(name, 4))
    assert float(off_by(fine, exact).mean()) < float(off_by(coarse, exact).mean())


@pytest.mark.parametrize("name", TAKERS)
def test_an_example_alone_stops_where_it_stops_in_a_batch(name: str) -> None:
    asked = question(name, 3, tolerance=0.05)
    together = explain(MODEL, method(name), asked)
    alone = [explain(MODEL, method(name), asked.example(i)) for i in range(3)]
    assert together.rows_used == sum(each.rows_used for each in alone)
    for i, each in enumerate(alone):
        torch.testing.assert_close(together.values[0][i : i + 1], each.values[0])


@pytest.mark.parametrize("name", TAKERS)
def test_answers_on_the_way_say_that_they_are_not_there_yet(name: str) -> None:
    reported: list[Attribution] = []
    asked = question(name, 2, tolerance=FINE)
    answer = explain(MODEL, method(name), asked, on_progress=reported.append)
    assert reported
    first = reported[0]
    assert first.relative_error is not None
    assert float(first.relative_error.max()) > FINE
    assert first.stop_reason is StopReason.UNFINISHED
    assert first.rows_used < answer.rows_used


@pytest.mark.parametrize("name", TAKERS)
def test_a_budget_ends_it_with_the_best_answer_so_far(name: str) -> None:
    asked = question(name, 2, tolerance=FINE)
    rows: list[int] = []
    explain(MODEL, method(name), asked, on_progress=lambda a: rows.append(a.rows_used))
    answer = explain(MODEL, method(name), asked, max_rows=rows[0])
    assert answer.stop_reason is StopReason.BUDGET
    assert answer.rows_used <= rows[0]
    assert answer.relative_error is not None


@pytest.mark.parametrize(
    ("name", "budgets"),
    [("smooth_grad", (5000, 15_000)), ("shapley_value_sampling", (5500, 18_000))],
)
def test_rows_of_a_round_that_a_budget_cuts_short_are_in_the_answer(
    name: str, budgets: tuple[int, int]
) -> None:
    asked = Explicand.of(numbers(1, 20), target=1, tolerance=1e-6)
    less, more = (explain(WIDE, method(name), asked, max_rows=rows) for rows in budgets)
    assert less.rows_used <= budgets[0] < more.rows_used <= budgets[1]
    assert less.relative_error is not None
    assert more.relative_error is not None
    assert float(more.relative_error) < 0.8 * float(less.relative_error)


@pytest.mark.parametrize("name", TAKERS)
def test_a_budget_without_a_first_answer_is_refused(name: str) -> None:
    with pytest.raises(BudgetExceeded):
        explain(MODEL, method(name), question(name, 1, tolerance=0.1), max_rows=2)


@pytest.mark.parametrize("name", TAKERS)
def test_a_tolerance_foretells_rows(name: str) -> None:
    fine, coarse = (method(name).rows(question(name, 2, tolerance=t)) for t in (0.01, 0.3))
    assert fine >= coarse > 0


@pytest.mark.parametrize("name", TAKERS)
def test_without_a_tolerance_no_relative_error_is_stated(name: str) -> None:
    assert explain(MODEL, method(name), question(name, 2)).relative_error is None


def test_methods_that_estimate_nothing_take_no_notice_of_a_tolerance() -> None:
    plain = question("saliency", 2)
    for name in ("saliency", "feature_ablation", "occlusion", "shapley_values", "partition_shap"):
        exact = explain(MODEL, method(name), plain)
        answer = explain(MODEL, method(name), replace(plain, tolerance=0.1))
        torch.testing.assert_close(answer.values[0], exact.values[0])
        assert answer.rows_used == exact.rows_used
        assert answer.relative_error is None


@pytest.mark.parametrize("kind", ["smoothgrad_sq", "vargrad"])
def test_squares_and_variances_keep_to_a_tolerance(kind: str) -> None:
    asked = question("smooth_grad", 6, tolerance=0.1)
    answer = explain(MODEL, method("smooth_grad", kind=kind), asked)
    plain = replace(asked, tolerance=None, seed=99)
    exact = explain(MODEL, method("smooth_grad", kind=kind, n_samples=20_000), plain).values[0]
    assert bool((off_by(answer, exact) <= 0.1).all())


@pytest.mark.parametrize("name", ["gradient_shap", "layer_gradient_shap"])
def test_noise_on_the_input_is_sampled(name: str) -> None:
    asked = question(name, 3, tolerance=0.1)
    answer = explain(MODEL, method(name, stdevs=0.2), asked)
    plain = replace(asked, tolerance=None, seed=99)
    exact = explain(MODEL, method(name, stdevs=0.2, n_samples=10_000), plain).values[0]
    assert bool((off_by(answer, exact) <= 0.1).all())


def test_a_large_background_is_sampled() -> None:
    asked = Explicand.of(
        numbers(4, FEATURES) * 2,
        target=1,
        baselines=numbers(300, FEATURES, seed=5),
        background=True,
        tolerance=0.1,
    )
    answer = explain(MODEL, method("expected_gradients"), asked)
    exact = mean_over_baselines(replace(asked, tolerance=None), "integrated_gradients")
    assert bool((off_by(answer, exact) <= 0.1).all())


@pytest.mark.parametrize("name", [*SHAPLEY, "rise", "lime"])
def test_every_output_keeps_to_the_tolerance(name: str) -> None:
    asked = replace(question(name, 3, tolerance=0.05), target=EveryOutput())
    answer = explain(MODEL, method(name), asked)
    one = replace(asked, target=question(name, 3).target)
    exact = truth(name, one)
    found = answer.values[0].view(3, 2, FEATURES)[:, 1]
    assert bool(((found - exact).abs().sum(1) <= 0.05 * exact.abs().sum(1)).all())


def test_games_of_few_features_are_enumerated_where_that_is_no_more() -> None:
    asked = Explicand.of(numbers(1, FEATURES), target=1, tolerance=0.001)
    for name in SHAPLEY:
        answer = explain(MODEL, method(name), asked)
        exact = explain(MODEL, method("shapley_values"), replace(asked, tolerance=None))
        torch.testing.assert_close(answer.values[0], exact.values[0])
        assert answer.relative_error is not None
        assert float(answer.relative_error) == 0


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_few_features_are_shown_in_all_ways_where_that_is_no_more(share: float) -> None:
    asked = question("rise", 2, tolerance=0.001)
    answer = explain(MODEL, method("rise", share=share), asked)
    bits = (torch.arange(1 << FEATURES)[:, None] >> torch.arange(FEATURES) & 1).bool()
    chances = torch.where(bits, share, 1 - share).double().prod(1)
    assert asked.baselines is not None
    for x, found in zip(asked.inputs[0], answer.values[0], strict=True):
        with torch.no_grad():
            outputs = MODEL(torch.where(bits, x, asked.baselines[0]))[:, 1]
        exact = ((outputs * chances)[:, None] * bits).sum(0) / share
        torch.testing.assert_close(found, exact)
    assert answer.relative_error is not None
    assert answer.relative_error.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["kernel_shap", "leverage_shap"])
def test_no_coalition_is_evaluated_twice(name: str) -> None:
    seen: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        seen.append(x)
        return (x @ numbers(14, seed=2)).tanh() * (1 + x[:, 0])

    answer = explain(model, method(name), Explicand.of(numbers(1, 14), tolerance=0.01))
    rows = torch.cat(seen)
    assert len(rows.unique(dim=0)) == len(rows) == answer.rows_used
    assert answer.rows_used > 1000
