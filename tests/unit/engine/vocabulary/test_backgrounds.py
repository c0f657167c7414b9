"""Background sets: expectations over several baselines of every example."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import pytest
import torch
from torch import Tensor

from adcaptum.engine import (
    INPUT,
    METHODS,
    EveryOutput,
    Explicand,
    InvalidArgument,
    Site,
    explain,
)
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import mlp, numbers, text_classifier, two_inputs

GAMES = [
    "feature_ablation",
    "kernel_shap",
    "leverage_shap",
    "owen_sampling",
    "partition_shap",
    "shapley_interactions",
    "shapley_value_sampling",
    "shapley_values",
]
SHORT: dict[str, dict[str, object]] = {
    "kernel_shap": {"n_samples": 60},
    "leverage_shap": {"n_samples": 60},
    "owen_sampling": {"n_samples": 8},
    "shapley_value_sampling": {"n_samples": 6},
}
BACKGROUND = numbers(4, 8, seed=1)
QUESTION = Explicand.of(numbers(3, 8), target=1, baselines=BACKGROUND, background=True, seed=3)


def method(name: str) -> Method:
    return resolve(METHODS[name], SHORT.get(name, {}))


def mean_over_rows(name: str, question: Explicand) -> Tensor:
    """What the method says with each background row alone, on average."""
    assert question.baselines is not None
    rows = len(question.baselines[0])
    alone = [
        replace(question, baselines=tuple(b[i : i + 1] for b in question.baselines))
        for i in range(rows)
    ]
    answers = [explain(mlp(), method(name), each).values[0] for each in alone]
    return torch.stack(answers).mean(0)


@pytest.mark.parametrize("name", GAMES)
def test_a_background_gives_the_mean_over_its_rows(name: str) -> None:
    # All are linear in the game, and the draws are the seed's.
    answer = explain(mlp(), method(name), QUESTION)
    expected = mean_over_rows(name, QUESTION)
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-10, atol=1e-12)


def test_the_values_are_those_of_the_expected_game_by_definition() -> None:
    model, x = mlp(4), numbers(1, 4)
    background = numbers(5, 4, seed=2)
    answer = explain(
        model,
        METHODS["shapley_values"](),
        Explicand.of(x, target=2, baselines=background, background=True),
    )

    def worth(coalition: tuple[int, ...]) -> float:
        rows = background.clone()
        rows[:, list(coalition)] = x[0, list(coalition)]
        with torch.no_grad():
            return float(model(rows)[:, 2].mean())

    for i in range(4):
        others = [j for j in range(4) if j != i]
        value = sum(
            (worth((*s, i)) - worth(s)) / (4 * comb(3, size))
            for size in range(4)
            for s in combinations(others, size)
        )
        assert float(answer.values[0][0, i]) == pytest.approx(value, abs=1e-12)


def test_the_outputs_are_that_of_the_example_and_the_mean_over_the_background() -> None:
    answer = explain(mlp(), method("kernel_shap"), QUESTION)
    with torch.no_grad():
        torch.testing.assert_close(answer.output, mlp()(QUESTION.inputs[0])[:, 1])
        mean = mlp()(BACKGROUND)[:, 1].mean()
    torch.testing.assert_close(answer.baseline_output, mean.expand(3))


def test_what_no_background_changes_is_evaluated_once() -> None:
    answer = explain(mlp(), METHODS["shapley_values"](), QUESTION)
    assert answer.rows_used == 3 * ((2**8 - 1) * 4 + 1)
    ablated = explain(mlp(), METHODS["feature_ablation"](), QUESTION)
    assert ablated.rows_used == 3 * (8 * 4 + 1)


@pytest.mark.parametrize("name", GAMES)
def test_the_rows_foretold_are_the_rows_used(name: str) -> None:
    own = method(name)
    mask = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3]])
    for question in (QUESTION, replace(QUESTION, feature_mask=(mask,))):
        assert explain(mlp(), own, question).rows_used == own.rows(question)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("batch_rows", [1, 5, 1000])
def test_the_size_of_batches_does_not_matter(name: str, batch_rows: int) -> None:
    question = replace(QUESTION, feature_mask=(torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3]]),))
    expected = explain(mlp(), method(name), question).values[0]
    answer = explain(mlp(), method(name), question, batch_rows=batch_rows)
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", GAMES)
def test_every_output_is_explained_against_the_background(name: str) -> None:
    every = explain(mlp(), method(name), replace(QUESTION, target=EveryOutput()))
    one = explain(mlp(), method(name), QUESTION)
    assert every.rows_used == one.rows_used
    torch.testing.assert_close(every.values[0][1::3], one.values[0])


def test_as_many_rows_as_examples_are_still_of_every_example() -> None:
    answer = explain(
        mlp(), METHODS["feature_ablation"](), replace(QUESTION, baselines=(BACKGROUND[:3],))
    )
    expected = mean_over_rows("feature_ablation", replace(QUESTION, baselines=(BACKGROUND[:3],)))
    torch.testing.assert_close(answer.values[0], expected)


def test_a_background_of_one_row_is_a_baseline() -> None:
    one = replace(QUESTION, baselines=(BACKGROUND[:1],))
    plain = explain(mlp(), METHODS["shapley_values"](), replace(one, background=False))
    answer = explain(mlp(), METHODS["shapley_values"](), one)
    assert answer.rows_used == plain.rows_used
    torch.testing.assert_close(answer.values[0], plain.values[0])


@pytest.mark.parametrize("name", ["feature_ablation", "shapley_values", "partition_shap"])
def test_features_may_be_each_examples_own(name: str) -> None:
    masks = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3], [0] * 6 + [1] * 2])
    question = replace(QUESTION, feature_mask=(masks,))
    answer = explain(mlp(), method(name), question)
    for i in range(3):
        alone = Explicand.of(
            QUESTION.inputs[0][i : i + 1],
            target=1,
            baselines=BACKGROUND,
            background=True,
            feature_mask=masks[i : i + 1],
        )
        expected = explain(mlp(), method(name), alone).values[0]
        torch.testing.assert_close(answer.values[0][i : i + 1], expected)


def test_at_a_layer_the_background_is_what_the_model_makes_of_it() -> None:
    at_layer = replace(QUESTION, at=Site("1"))
    ablation = METHODS["feature_ablation"]()
    answer = explain(mlp(), ablation, at_layer)
    expected = mean_over_rows("feature_ablation", at_layer)
    torch.testing.assert_close(answer.values[0], expected)
    # The examples and the background once, then 16 features.
    assert answer.rows_used == 3 + 4 + 3 * (16 * 4 + 1)


def test_a_background_may_be_given_in_the_layers_own_space() -> None:
    model = mlp()
    assert isinstance(model, torch.nn.Sequential)
    with torch.no_grad():
        hidden = model[1](model[0](BACKGROUND))
    given = replace(QUESTION, at=Site("1"), baselines=None, starts=(hidden,))
    answer = explain(model, METHODS["feature_ablation"](), given)
    expected = explain(model, METHODS["feature_ablation"](), replace(QUESTION, at=Site("1")))
    torch.testing.assert_close(answer.values[0], expected.values[0])
    assert answer.rows_used == expected.rows_used - 4


def test_a_layers_background_may_depend_on_an_examples_arguments() -> None:
    ids = torch.tensor([[1, 4, 7], [2, 2, 5]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    question = Explicand.of(
        ids,
        target=1,
        baselines=torch.tensor([[0, 0, 0], [3, 3, 3], [8, 9, 10]]),
        at=Site("embedding"),
        additional_forward_args=(mask,),
        feature_mask=torch.arange(3)[None],
        background=True,
    )
    shapley = METHODS["shapley_values"]()
    answer = explain(text_classifier(), shapley, question)
    assert answer.rows_used == shapley.rows(question) == 2 + 2 * 3 + 2 * (7 * 3 + 1)
    at_ids = explain(text_classifier(), shapley, replace(question, at=INPUT))
    torch.testing.assert_close(answer.values[0][:, :, 0], at_ids.values[0])


def test_an_input_with_one_baseline_row_has_it_beside_every_background_row() -> None:
    x, y = numbers(2, 4), numbers(2, 3, seed=1)
    rows = numbers(5, 4, seed=2)
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    question = Explicand.of(
        (x, y), target=0, baselines=(rows, zeros), additional_forward_args=(torch.ones(2),)
    )
    broadcast = replace(question, background=True)
    written_out = replace(broadcast, baselines=(rows, zeros.expand(5, 3)))
    answers = [explain(two_inputs(), method("shapley_values"), q) for q in (broadcast, written_out)]
    torch.testing.assert_close(answers[0].values, answers[1].values)


def test_inputs_of_different_backgrounds_are_refused() -> None:
    question = Explicand.of(
        (numbers(2, 4), numbers(2, 3)),
        target=0,
        baselines=(numbers(5, 4), numbers(4, 3)),
        additional_forward_args=(torch.ones(2),),
        background=True,
    )
    with pytest.raises(InvalidArgument, match=r"\[4, 5\] rows"):
        explain(two_inputs(), METHODS["shapley_values"](), question)


@pytest.mark.parametrize(
    "starts", [(numbers(4, 15),), (numbers(4, 16), numbers(4, 16))], ids=["shape", "number"]
)
def test_a_background_that_does_not_fit_the_layer_is_refused(starts: tuple[Tensor, ...]) -> None:
    question = replace(QUESTION, at=Site("1"), baselines=None, starts=starts)
    with pytest.raises(InvalidArgument, match="layer_baselines"):
        explain(mlp(), METHODS["feature_ablation"](), question)


# What smooth_grad wraps decides; in its default form that has no baseline.
PAIRED = [
    n
    for n, m in METHODS.items()
    if m.traits.baseline and not m.traits.background and n != "smooth_grad"
]


@pytest.mark.parametrize("name", PAIRED)
def test_methods_without_expectations_refuse_a_background(name: str) -> None:
    own = resolve(METHODS[name], {})
    at = Site("1") if needs_layer(own.traits.layer) else INPUT
    with pytest.raises(InvalidArgument, match="background set of 4 rows"):
        explain(mlp(), own, replace(QUESTION, at=at))


@pytest.mark.parametrize("name", GAMES)
def test_a_game_in_parts_is_the_same_game(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = explain(mlp(), method(name), QUESTION)
    monkeypatch.setattr("adcaptum.engine.games.game._MOST_ROWS", 60)
    answer = explain(mlp(), method(name), QUESTION)
    torch.testing.assert_close(answer.values[0], expected.values[0], rtol=1e-10, atol=1e-12)
    assert answer.rows_used == expected.rows_used


@pytest.mark.parametrize("rows", [2, 4])
def test_noise_on_the_inputs_leaves_the_background_what_it_is(rows: int) -> None:
    shapley = resolve(METHODS["shapley_values"], {})
    noisy = resolve(METHODS["smooth_grad"], {"of": shapley, "n_samples": 3})
    question = Explicand.of(
        numbers(4, 8), target=1, at=Site("1"), feature_mask=torch.arange(16)[None] // 4
    )
    given = replace(question, background=True, starts=(numbers(rows, 16, seed=5),))
    # Three copies read the layer and play the game; the examples' own outputs come once.
    assert explain(mlp(), noisy, given).rows_used == 4 * (3 * (1 + 15 * rows + 1) + 1)


def test_half_precision_outputs_are_averaged_in_float32() -> None:
    rows = torch.tensor([[1.0], [1 / 256]]).repeat(200, 1)
    question = Explicand.of(torch.zeros(1, 1), baselines=rows, background=True)
    answer = explain(lambda x: x[:, 0].bfloat16(), METHODS["shapley_values"](), question)
    assert answer.baseline_output is not None
    assert float(answer.baseline_output) == pytest.approx((1 + 1 / 256) / 2, rel=1e-6)
