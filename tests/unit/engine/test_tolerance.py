"""Methods that go on until they are good enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from adcaptum.engine import METHODS, BudgetExceeded, Explicand, InvalidArgument, StopReason, explain
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers

IG = resolve(METHODS["integrated_gradients"], {})
EXACT = resolve(METHODS["integrated_gradients"], {"n_steps": 2000})


def kinked(features: int = 8) -> nn.Module:
    """A network of ReLUs: its gradient jumps along the way."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = nn.Sequential(
            nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
        )
    return layers.double().eval()


def true_error(answer: Attribution, truth: Attribution) -> torch.Tensor:
    wrong = (answer.values[0] - truth.values[0]).abs().flatten(1).sum(1)
    return wrong / truth.values[0].abs().flatten(1).sum(1)


@pytest.mark.parametrize("tolerance", [0.05, 0.02])
@pytest.mark.parametrize("model", [kinked(), mlp()], ids=["kinked", "smooth"])
def test_the_error_stated_is_within_the_tolerance_and_holds(
    model: nn.Module, tolerance: float
) -> None:
    x = numbers(60, 8) * 3
    question = Explicand.of(x, target=1, tolerance=tolerance)
    answer = explain(model, IG, question)
    assert answer.relative_error is not None
    assert bool((answer.relative_error <= tolerance).all())
    assert answer.stop_reason is StopReason.CONVERGED
    truth = explain(model, EXACT, replace(question, tolerance=None))
    assert (true_error(answer, truth) <= tolerance).double().mean() >= 0.93


def test_a_finer_tolerance_takes_more_rows() -> None:
    model, x = kinked(), numbers(3, 8) * 3
    rows = [
        explain(model, IG, Explicand.of(x, target=1, tolerance=t)).rows_used
        for t in (0.1, 0.01, 0.001)
    ]
    assert rows[0] < rows[1] < rows[2]


def test_an_example_stops_for_itself() -> None:
    model, x = kinked(), numbers(4, 8) * torch.tensor([[0.01], [1.0], [3.0], [9.0]])
    together = explain(model, IG, Explicand.of(x, target=[0, 1, 2, 0], tolerance=0.02))
    alone = [
        explain(model, IG, Explicand.of(x[i : i + 1], target=t, tolerance=0.02))
        for i, t in enumerate([0, 1, 2, 0])
    ]
    assert together.rows_used == sum(each.rows_used for each in alone)
    assert len({each.rows_used for each in alone}) > 1
    for i, each in enumerate(alone):
        torch.testing.assert_close(together.values[0][i : i + 1], each.values[0])


def test_on_the_way_ever_better_answers_are_reported() -> None:
    reported: list[Attribution] = []
    answer = explain(
        kinked(),
        IG,
        Explicand.of(numbers(1, 8) * 3, target=1, tolerance=0.001),
        on_progress=reported.append,
    )
    truth = explain(kinked(), EXACT, Explicand.of(numbers(1, 8) * 3, target=1))
    errors = [float(true_error(each, truth)) for each in (*reported, answer)]
    assert len(errors) > 3
    assert errors[-1] < errors[0] / 10


def test_a_budget_ends_it_with_the_best_answer_so_far() -> None:
    question = Explicand.of(numbers(1, 8) * 3, target=1, tolerance=1e-6)
    answer = explain(kinked(), IG, question, max_rows=40)
    assert answer.stop_reason is StopReason.BUDGET
    assert answer.rows_used <= 40
    assert answer.relative_error is not None
    assert float(answer.relative_error) > 1e-6


def test_a_budget_without_a_first_answer_is_refused() -> None:
    question = Explicand.of(numbers(1, 8), target=1, tolerance=0.1)
    with pytest.raises(BudgetExceeded):
        explain(kinked(), IG, question, max_rows=4)


def test_what_never_gets_there_says_that_it_did_not() -> None:
    question = Explicand.of(numbers(1, 1, 8, 8), target=1, tolerance=1e-9)
    answer = explain(cnn(), IG, question)
    assert answer.stop_reason is StopReason.EXHAUSTED
    assert answer.rows_used == 1025


def test_an_input_that_is_its_baseline_is_done_at_once() -> None:
    x = numbers(1, 8)
    answer = explain(kinked(), IG, Explicand.of(x, target=1, baselines=x, tolerance=0.01))
    assert answer.rows_used == 9
    assert not answer.values[0].any()
    assert answer.stop_reason is StopReason.CONVERGED


@pytest.mark.parametrize("name", ["integrated_gradients", "rise"])
def test_what_is_no_number_is_not_converged_and_costs_nothing_more(name: str) -> None:
    question = Explicand.of(numbers(1, 8), baselines=0.0, tolerance=0.01)
    answer = explain(lambda x: x.sum(1) * torch.nan, METHODS[name](), question)
    assert answer.stop_reason is StopReason.EXHAUSTED
    assert answer.relative_error is not None
    assert answer.relative_error.isnan().all()
    assert answer.rows_used <= 65


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, float("nan")])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(InvalidArgument, match="tolerance"):
        Explicand.of(numbers(1, 8), tolerance=tolerance)


def test_each_example_has_the_reason_for_which_it_ended() -> None:
    """One example is its baseline and met at once; the other has kinks and no rows left."""
    x = torch.cat([torch.zeros(1, 8), numbers(1, 8) * 3])
    question = Explicand.of(x, target=1, tolerance=1e-6)
    answer = explain(kinked(), IG, question, max_rows=60)
    assert answer.stop_reason is StopReason.BUDGET
    assert [answer.reason(i) for i in range(2)] == [StopReason.CONVERGED, StopReason.BUDGET]


def test_an_example_that_has_nothing_finer_does_not_hide_that_another_met_it() -> None:
    x = numbers(2, 8) * 3
    x[1, 0] = 1e4

    def model(x: torch.Tensor) -> torch.Tensor:
        return x.sum(1) * torch.where(x[:, 0] > 1e3, torch.nan, 1.0)

    answer = explain(model, IG, Explicand.of(x, tolerance=0.01))
    assert answer.stop_reason is StopReason.EXHAUSTED
    assert answer.stop_reasons == (StopReason.CONVERGED, StopReason.EXHAUSTED)


@pytest.mark.parametrize("method", [METHODS["saliency"](), IG, METHODS["kernel_shap"]()])
def test_without_a_tolerance_all_steps_are_completed(method: Method) -> None:
    answer = explain(kinked(), method, Explicand.of(numbers(2, 8), target=1))
    assert answer.stop_reason is StopReason.COMPLETED
    assert answer.stop_reasons == ()


def test_sampled_shapley_values_have_every_error() -> None:
    question = Explicand.of(numbers(2, 20), target=1, tolerance=0.2)
    answer = explain(kinked(20), METHODS["shapley_value_sampling"](), question)
    assert answer.completeness_error is not None
    assert answer.standard_error is not None
    assert answer.relative_error is not None
    assert bool((answer.completeness_error < 1e-5).all())
    assert bool((answer.standard_error > 0).all())
