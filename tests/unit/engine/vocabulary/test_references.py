"""Reference rows: evaluated once, shared between requests, with the arguments of their examples."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Evaluation, Explicand, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange, pack_references
from adcaptum.engine.methods.backward_rules.reference_rows import (
    compared_with_background,
    compared_with_baselines,
)
from adcaptum.engine.rules.deep_lift.rescale import Rescale
from tests.models import mlp, numbers, text_classifier, two_inputs


class Counted(nn.Module):
    """Counts the rows that a model is given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rows: list[int] = []

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.model(x, *rest)


def compared(x: Tensor, x0: Tensor | None, target: object = 1, **rest: object) -> Evaluation:
    question = Explicand.of(x, target=target, baselines=x0, **rest)  # type: ignore[arg-type]
    return compared_with_baselines(question, Rescale(), multiply=True)


def whole(evaluation: Evaluation) -> RowRange:
    return RowRange(evaluation, 0, len(evaluation.rows))


def test_requests_with_baselines_and_targets_of_their_own_share_a_batch() -> None:
    model = Counted(mlp())
    x = [numbers(n, 8, seed=n) for n in (3, 1, 2, 2)]
    x0 = [numbers(1, 8, seed=9), numbers(1, 8, seed=9), None, numbers(2, 8, seed=8)]
    asked = [compared(a, b, target) for a, b, target in zip(x, x0, (0, 2, 1, 1), strict=True)]
    assert len({evaluation.key for evaluation in asked}) == 1
    together = evaluate(model, [whole(e) for e in asked])
    # Eight examples; the first two requests' baselines are equal, the last one's are two.
    assert model.rows == [8 + 1 + 1 + 2]
    for evaluation, part in zip(asked, together, strict=True):
        (alone,) = evaluate(model, [whole(evaluation)])
        for left, right in zip(part.gradients, alone.gradients, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part.values, alone.values, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part.reference_values, alone.reference_values)


def test_a_background_is_evaluated_once_a_batch_however_many_examples_there_are() -> None:
    model = Counted(mlp())
    question = Explicand.of(numbers(4, 8), target=1, baselines=numbers(5, 8, seed=1))
    evaluation = compared_with_background(question, Rescale(), multiply=True)
    evaluate(model, [whole(evaluation)])
    assert model.rows == [4 * 5 + 5]
    evaluate(model, [RowRange(evaluation, 3, 7)])
    assert model.rows[1:] == [4 + 4]


def test_a_slice_brings_only_the_references_of_its_rows() -> None:
    evaluation = compared(numbers(5, 8), numbers(5, 8, seed=1))
    references = pack_references([RowRange(evaluation, 1, 3)])
    assert references is not None
    torch.testing.assert_close(references.tensors[0], numbers(5, 8, seed=1)[1:3])
    assert references.index.tolist() == [0, 1]


def test_a_reference_has_the_further_arguments_of_its_example() -> None:
    model, method = two_inputs(), METHODS["deep_lift"]()
    x, y, weight = numbers(3, 4), numbers(3, 3, seed=1), numbers(3, seed=2)
    together = explain(model, method, question := Explicand.of(
        (x, y), target=1, baselines=(0.0, 0.0), additional_forward_args=(weight, 2.0)
    ))  # fmt: skip
    assert together.rows_used == method.rows(question) == 6
    assert together.completeness_error is not None
    assert together.completeness_error.max() < 1e-12
    for i in range(3):
        alone = explain(model, method, question.example(i))
        torch.testing.assert_close(together.values[0][i : i + 1], alone.values[0])


def test_token_ids_are_compared_at_the_embedding() -> None:
    model = Counted(text_classifier())
    ids = torch.tensor([[1, 4, 7], [2, 2, 5]])
    question = Explicand.of(
        ids, target=1, baselines=torch.zeros_like(ids[:1]), at=Site("model.embedding"),
        additional_forward_args=(torch.ones(2, 3),),
    )  # fmt: skip
    answer = explain(model, METHODS["deep_lift"](), question, batch_rows=8)
    # Both examples have equal further arguments: one baseline serves them.
    assert model.rows == [3]
    assert answer.rows_used == 3
    assert answer.values[0].shape == (2, 3, 6)


def test_what_is_put_at_a_layer_replaces_the_examples_values_only() -> None:
    model, values = mlp(), numbers(2, 16, seed=5)
    x = numbers(2, 8)
    question = replace(Explicand.of(x, target=1, at=Site("1")), values=(values,))
    answer = explain(model, METHODS["deep_lift"](), question)
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        start = model[:2](torch.zeros(1, 8, dtype=torch.float64))
    expected = explain(
        model[2:], METHODS["deep_lift"](), Explicand.of(values, target=1, baselines=start)
    )
    torch.testing.assert_close(answer.values, expected.values)


def test_streaming_the_mean_gives_what_one_batch_gives() -> None:
    method = METHODS["deep_lift_shap"]()
    question = Explicand.of(numbers(2, 8), target=1, baselines=numbers(30, 8, seed=1))
    expected = explain(mlp(), method, question, batch_rows=100)
    for batch_rows in (1, 7):
        answer = explain(mlp(), method, question, batch_rows=batch_rows)
        torch.testing.assert_close(answer.values, expected.values, rtol=1e-12, atol=1e-12)
