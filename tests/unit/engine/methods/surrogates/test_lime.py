"""LIME."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor

from adcaptum.engine import EveryOutput, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.surrogates.bernoulli import Bernoulli
from adcaptum.engine.methods.surrogates.lime import Lime
from adcaptum.engine.methods.surrogates.linear_surrogate import fit
from adcaptum.engine.methods.surrogates.similarity import ExponentialKernel
from adcaptum.engine.vocabulary.flow import computed
from adcaptum.engine.vocabulary.method import multiply_adds
from tests.models import mlp, numbers


def samples(x: Tensor, x0: Tensor, seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The coalitions of one example, the perturbed examples, and their weights."""
    flips = Bernoulli(8, count, seed).take(0, count, torch.device("cpu"))
    coalitions = torch.cat([torch.ones(1, 8, dtype=torch.bool), flips])
    features = Features.of(Explicand.of(x), (x,))
    weights = ExponentialKernel("cosine", 1.0).weights((x,), (x0,), features, coalitions)
    return coalitions, torch.where(coalitions, x, x0), weights[0]


def slopes(kind: str, coalitions: Tensor, weights: Tensor, y: Tensor) -> Tensor:
    """Those of scikit-learn's regression, with a penalty of 0.02."""
    share = weights / weights.sum()
    spread = float((share * (y - share @ y).square()).sum().sqrt())
    oracle = Lasso(alpha=0.02 * spread, tol=1e-12, max_iter=100_000)
    if kind == "ridge":
        oracle = Ridge(alpha=0.02 * float(weights.sum()))
    oracle.fit(coalitions.numpy().astype(float), y.numpy(), sample_weight=weights.numpy())
    return torch.tensor(oracle.coef_)


@pytest.mark.parametrize("kind", ["lasso", "ridge"])
@pytest.mark.parametrize("count", [40, 200])
def test_it_is_the_regression_of_scikit_learn(kind: str, count: int) -> None:
    model, x, x0 = mlp(), numbers(1, 8), numbers(1, 8, seed=1)
    method = Lime(n_samples=count, surrogate=kind, alpha=0.02)  # type: ignore[arg-type]
    answer = explain(model, method, Explicand.of(x, target=1, baselines=x0, seed=5))
    coalitions, perturbed, weights = samples(x, x0, 5, count)
    with torch.no_grad():
        y = model(perturbed)[:, 1]
    expected = slopes(kind, coalitions, weights, y)
    torch.testing.assert_close(answer.values[0][0], expected, rtol=1e-6, atol=1e-8)
    assert answer.output is not None
    torch.testing.assert_close(answer.output, model(x)[:, 1].detach())


def test_an_additive_model_is_found_exactly_without_a_penalty() -> None:
    x, x0 = numbers(3, 8), numbers(3, 8, seed=1)
    slopes = numbers(8, seed=2)
    explicand = Explicand.of(x, baselines=x0)
    answer = explain(lambda t: t @ slopes + 3, Lime(surrogate="ridge", alpha=0.0), explicand)
    torch.testing.assert_close(answer.values[0], (x - x0) * slopes)
    assert answer.standard_error is not None
    assert answer.standard_error.max() < 1e-9


def test_small_outputs_are_explained_like_large_ones() -> None:
    model, x = mlp(), numbers(1, 8)
    explicand = Explicand.of(x, target=0, seed=1)
    large = explain(model, Lime(), explicand).values[0]
    small = explain(lambda t: model(t) * 1e-6, Lime(), explicand).values[0]
    assert large.any()
    torch.testing.assert_close(small * 1e6, large)


def test_an_output_that_never_changes_is_nothing_to_explain() -> None:
    answer = explain(lambda t: torch.full((len(t),), 0.1), Lime(), Explicand.of(numbers(1, 4)))
    assert not answer.values[0].any()
    assert answer.standard_error is not None
    assert not answer.standard_error.any()


def test_its_standard_errors_are_those_that_other_seeds_show() -> None:
    model, x = mlp(), numbers(1, 8)
    method = Lime(n_samples=200, surrogate="ridge", alpha=0.0)
    answers = [explain(model, method, Explicand.of(x, target=1, seed=s)) for s in range(60)]
    values = torch.stack([a.values[0][0] for a in answers])
    told = torch.stack([a.standard_errors[0][0] for a in answers]).mean(0)
    ratio = told / values.std(0)
    assert ratio.min() > 0.7
    assert ratio.max() < 1.45


def test_too_few_samples_for_an_error_say_so() -> None:
    method = Lime(n_samples=5, surrogate="ridge")
    answer = explain(mlp(), method, Explicand.of(numbers(1, 8), target=0))
    assert answer.standard_error is not None
    assert answer.standard_error.isinf().all()


def test_every_output_is_explained_with_the_same_samples() -> None:
    model, x = mlp(), numbers(2, 8)
    every = explain(model, Lime(), Explicand.of(x, target=EveryOutput(), seed=1))
    for output in range(3):
        one = explain(model, Lime(), Explicand.of(x, target=output, seed=1))
        torch.testing.assert_close(every.values[0].view(2, 3, 8)[:, output], one.values[0])


def test_a_layer_and_groups_are_explained() -> None:
    mask = torch.arange(16)[None] // 4
    explicand = Explicand.of(numbers(2, 8), target=1, at=Site("1"), feature_mask=mask)
    method = Lime(n_samples=50)
    answer = explain(mlp(), method, explicand)
    assert answer.values[0].shape == (2, 16)
    assert torch.equal(answer.values[0][:, 0], answer.values[0][:, 3])
    assert answer.rows_used == method.rows(explicand)


def test_a_baseline_that_is_not_a_number_stays_where_it_is_shown() -> None:
    x0 = torch.tensor([[0.0, torch.nan]])
    explicand = Explicand.of(torch.tensor([[1.0, 2.0]]), baselines=x0)
    method = Lime(surrogate="ridge", alpha=0.0)
    (values,) = explain(lambda x: x.nan_to_num(nan=-1).sum(1), method, explicand).values
    torch.testing.assert_close(values, torch.tensor([[1.0, 3.0]]))


def test_an_input_of_zeros_has_no_angle_and_is_explained() -> None:
    # Its cosine with anything is zero, and so is every weight of a narrow kernel.
    question = Explicand.of(0 * numbers(1, 8), target=1, baselines=1.0)
    (values,) = explain(mlp(), Lime(kernel_width=1e-3), question).values
    assert values.isfinite().all()
    assert values.any()


def test_a_background_set_is_refused() -> None:
    explicand = Explicand.of(numbers(1, 8), target=0, baselines=numbers(4, 8), background=True)
    with pytest.raises(InvalidArgument, match="background"):
        explain(mlp(), Lime(), explicand)


def test_fewer_rows_than_features_are_solved_in_the_rows() -> None:
    coalitions = Bernoulli(30, 12, 0).take(0, 12, torch.device("cpu"))
    weights, y = torch.rand(1, 12, dtype=torch.float64), numbers(1, 1, 12)
    (values,) = computed(fit("ridge", 0.3, coalitions, weights, y)).values
    oracle = Ridge(alpha=0.3 * float(weights.sum()))
    oracle.fit(coalitions.numpy().astype(float), y[0, 0].numpy(), sample_weight=weights[0].numpy())
    torch.testing.assert_close(values, torch.tensor(oracle.coef_), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["lasso", "ridge"])
def test_a_tolerance_that_no_sample_meets_ends_with_the_surrogate_of_all_coalitions(
    kind: str,
) -> None:
    model, x, x0 = mlp(), numbers(1, 8), numbers(1, 8, seed=1)
    method = Lime(surrogate=kind, alpha=0.02)  # type: ignore[arg-type]
    asked = Explicand.of(x, target=1, baselines=x0, tolerance=1e-6)
    answer = explain(model, method, asked)
    coalitions = (torch.arange(256)[:, None] >> torch.arange(8) & 1).bool()
    perturbed = torch.where(coalitions, x, x0)
    with torch.no_grad():
        y = model(perturbed)[:, 1]
    cosines = torch.nn.functional.cosine_similarity(perturbed, x)
    weights = (-((1 - cosines).square()) / 2).exp()
    expected = slopes(kind, coalitions, weights, y)
    torch.testing.assert_close(answer.values[0][0], expected, rtol=1e-6, atol=1e-8)
    assert answer.relative_error is not None
    assert float(answer.relative_error) == 0


@pytest.mark.parametrize("kind", ["lasso", "ridge"])
def test_many_features_keep_to_a_tolerance(kind: str) -> None:
    weights = numbers(40, seed=2)

    def model(t: Tensor) -> Tensor:
        return (t @ weights).tanh() + t[:, 0] * t[:, 1]

    method = Lime(surrogate=kind)  # type: ignore[arg-type]
    asked = Explicand.of(numbers(3, 40), tolerance=0.1, seed=3)
    answer = explain(model, method, asked)
    plain = Explicand.of(numbers(3, 40), seed=4)
    many = Lime(n_samples=20_000, surrogate=kind)  # type: ignore[arg-type]
    truth = explain(model, many, plain).values[0]
    off = (answer.values[0] - truth).abs().sum(1) / truth.abs().sum(1)
    assert bool((off <= 0.1).all())


def test_where_hardly_a_sample_counts_the_error_is_not_known() -> None:
    method = Lime(distance="euclidean", kernel_width=0.05)
    asked = Explicand.of(numbers(1, 30), target=0, tolerance=0.05)
    answer = explain(lambda t: t.square(), method, asked, max_rows=500)
    assert answer.relative_error is not None
    assert not bool((answer.relative_error <= 0.05).any())


@pytest.mark.parametrize("kind", ["lasso", "ridge"])
@pytest.mark.parametrize("samples", [256, 1000, None])
def test_where_all_coalitions_fit_into_the_samples_each_is_evaluated_once(
    kind: str, samples: int | None
) -> None:
    model, x, x0 = mlp(), numbers(2, 8), numbers(1, 8, seed=1)
    method = Lime(samples, kind, alpha=0.02)  # type: ignore[arg-type]
    asked = Explicand.of(x, target=1, baselines=x0)
    answer = explain(model, method, asked)
    assert answer.rows_used == method.rows(asked) == 512
    assert answer.standard_error is not None
    assert not answer.standard_error.any()
    coalitions = (torch.arange(256)[:, None] >> torch.arange(8) & 1).bool()
    for i in range(2):
        perturbed = torch.where(coalitions, x[i], x0)
        with torch.no_grad():
            y = model(perturbed)[:, 1]
        cosines = torch.nn.functional.cosine_similarity(perturbed, x[i : i + 1])
        weights = (-((1 - cosines).square()) / 2).exp()
        expected = slopes(kind, coalitions, weights, y)
        torch.testing.assert_close(answer.values[0][i], expected, rtol=1e-6, atol=1e-8)


def test_one_sample_fewer_draws_them() -> None:
    method = Lime(n_samples=255)
    answer = explain(mlp(), method, Explicand.of(numbers(1, 8), target=1))
    assert answer.rows_used == 256
    assert answer.standard_error is not None
    assert answer.standard_error.all()


@pytest.mark.parametrize("kind", ["lasso", "ridge"])
@pytest.mark.parametrize("samples", [20, 100, 600])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_an_example_that_is_no_number_spoils_no_other(kind: str, samples: int, bad: float) -> None:
    x = numbers(3, 8)
    x[1, 2] = bad
    method = Lime(samples, kind)  # type: ignore[arg-type]
    answer = explain(mlp(), method, Explicand.of(x, target=1, seed=2))
    good = Explicand.of(x[[0, 2]], target=1, seed=2)
    expected = explain(mlp(), method, good)
    torch.testing.assert_close(answer.values[0][[0, 2]], expected.values[0])
    torch.testing.assert_close(
        answer.standard_errors[0][[0, 2]], expected.standard_errors[0], equal_nan=True
    )
    assert answer.values[0][1].isnan().all()
    assert answer.standard_errors[0][1].isnan().all()
    assert answer.standard_error is not None
    assert answer.standard_error[1].isnan()


def test_the_fit_of_many_features_pauses_and_may_be_closed() -> None:
    features = 1200
    weights = numbers(features, seed=3) / features**0.5
    execution = FlowRun(Lime().flow(Explicand.of(numbers(1, features))))
    pauses = 0
    try:
        execution.start()
        while not execution.done and pauses < 2:
            for pending in execution.pending:
                if pending.rows:
                    parts = evaluate(
                        lambda t: (t @ weights).tanh(),
                        [RowRange(pending.evaluation, 0, pending.rows)],
                    )
                    pending.add(0, pending.rows, parts[0])
            execution.advance()
            pauses += execution.paused
    finally:
        execution.close()
    assert pauses == 2


@pytest.mark.parametrize("method", [Lime(), Lime(surrogate="ridge"), Lime(n_samples=3000)])
def test_a_regression_that_is_too_large_is_refused_before_the_model_runs(method: Lime) -> None:
    explicand = Explicand.of(torch.zeros(1, 60_000))
    for ask in (method.rows, lambda x: explain(never, method, x)):
        with pytest.raises(InvalidArgument, match="group elements"):
            ask(explicand)


def never(_: Tensor) -> Tensor:
    raise AssertionError("the model is not asked")


def test_what_the_fits_cost_grows_with_features_examples_and_accuracy() -> None:
    def cost(features: int, examples: int = 1, tolerance: float | None = None) -> float:
        asked = Explicand.of(torch.zeros(examples, features), tolerance=tolerance)
        return multiply_adds(Lime(), asked)

    assert cost(8) < 1e7
    assert cost(3072) > 1e11
    assert cost(192, 4) == 4 * cost(192)
    assert cost(192, tolerance=0.01) > cost(192, tolerance=0.1)
