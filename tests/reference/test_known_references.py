"""DeepLIFT with references that are known, against DeepLIFT with them in the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Evaluation, Explicand, Neuron, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.methods.backward_rules.reference_rows import (
    compared_with_background,
    compared_with_baselines,
)
from adcaptum.engine.rules import Rule
from adcaptum.engine.rules.deep_lift.named import difference_rule
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers, text_classifier, two_inputs
from tests.unit.engine.rules.networks import IMAGE, NETWORKS, SEQUENCE, resnet, seeded

RESCALE = difference_rule("rescale")


class Counted(nn.Module):
    """Counts the rows that a model is given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rows: list[int] = []

    def forward(self, x: Tensor, *rest: Tensor) -> Any:
        self.rows.append(len(x))
        return self.model(x, *rest)


def whole(evaluation: Evaluation) -> RowRange:
    return RowRange(evaluation, 0, len(evaluation.rows))


def agree(found: Part, expected: Part) -> None:
    assert found.uncovered_ops == expected.uncovered_ops
    assert found.reference_values is not None
    assert expected.reference_values is not None
    torch.testing.assert_close(
        (found.values, *found.gradients, found.reference_values),
        (expected.values, *expected.gradients, expected.reference_values),
        rtol=1e-10,
        atol=1e-12,
    )


def known(model: nn.Module, make: Callable[[int, int], Evaluation]) -> list[int]:
    """Checks batches of several sizes; gives how many rows each had beside its examples.

    Layers are those of `Counted`.
    """
    counted, memory = Counted(model), ReferenceMemory(independent=True)
    extra = []
    for seed, count in enumerate((3, 2, 1, 4, 2)):
        evaluation = make(count, seed)
        (found,) = evaluate(counted, [whole(evaluation)], memory=memory)
        extra.append(counted.rows[-1] - len(evaluation.rows))
        (expected,) = evaluate(counted, [whole(evaluation)])
        agree(found, expected)
    return extra


def compared(x: Tensor, x0: Tensor, *, rule: Rule = RESCALE, **rest: Any) -> Evaluation:
    question = Explicand.of(x, **{"target": 1, "baselines": x0, **rest})
    return compared_with_baselines(question, rule, multiply=True)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_is_explained_alike(name: str, rule: Any) -> None:
    make, shape = NETWORKS[name]
    x0 = numbers(1, *shape, seed=99)
    extra = known(
        seeded(make),
        lambda count, seed: compared(
            numbers(count, *shape, seed=seed), x0, rule=difference_rule(rule)
        ),
    )
    # Evaluated and recorded the first time, then known.
    assert extra == [1, 0, 0, 0, 0]


def test_each_example_may_have_a_baseline_of_its_own() -> None:
    baselines = numbers(4, *IMAGE, seed=99)
    extra = known(
        seeded(resnet),
        lambda count, seed: compared(numbers(count, *IMAGE, seed=seed), baselines[-count:]),
    )
    # The last three rows are recorded in the first batch, the first in the fourth.
    assert extra == [3, 0, 0, 1, 0]


def test_a_background_is_known_from_batch_to_batch() -> None:
    background = numbers(5, 8, seed=99)

    def make(count: int, seed: int) -> Evaluation:
        question = Explicand.of(numbers(count, 8, seed=seed), target=1, baselines=background)
        return compared_with_background(question, RESCALE, multiply=True)

    assert known(mlp(), make) == [5, 0, 0, 0, 0]


@pytest.mark.parametrize("site", ["model.1", "model.2.norm", "model.3"])
def test_layers_are_explained_alike(site: str) -> None:
    x0 = numbers(1, 1, 8, 8, seed=99)
    extra = known(
        cnn(),
        lambda count, seed: compared(numbers(count, 1, 8, 8, seed=seed), x0, at=Site(site)),
    )
    assert extra == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("index", [(3,), (slice(1, 4),)])
def test_neurons_are_explained_alike(index: tuple[int | slice, ...]) -> None:
    x0 = numbers(1, 8, seed=99)
    target = Neuron(Site("model.1"), index)
    extra = known(
        mlp(),
        lambda count, seed: compared(numbers(count, 8, seed=seed), x0, target=target),
    )
    assert extra == [1, 0, 0, 0, 0]


def test_multipliers_alone_are_those_of_the_paired_batch() -> None:
    x0 = numbers(1, *SEQUENCE, seed=99)

    def make(count: int, seed: int) -> Evaluation:
        question = Explicand.of(numbers(count, *SEQUENCE, seed=seed), target=1, baselines=x0)
        return compared_with_baselines(question, RESCALE, multiply=False)

    assert known(seeded(NETWORKS["encoder"][0]), make) == [1, 0, 0, 0, 0]


def test_a_reference_is_known_with_the_further_arguments_of_its_example() -> None:
    weights = numbers(2, seed=7)

    def make(count: int, seed: int) -> Evaluation:
        inputs = (numbers(count, 4, seed=seed), numbers(count, 3, seed=seed + 50))
        own = weights[torch.arange(count) % 2]
        question = Explicand.of(
            inputs, target=1, baselines=(0.0, 0.0), additional_forward_args=(own, 2.0)
        )
        return compared_with_baselines(question, RESCALE, multiply=True)

    assert known(two_inputs(), make) == [2, 0, 0, 0, 0]


def test_tokens_are_compared_at_the_embedding() -> None:
    def make(count: int, seed: int) -> Evaluation:
        ids = torch.randint(1, 11, (count, 3), generator=torch.Generator().manual_seed(seed))
        return compared(
            ids, torch.zeros_like(ids[:1]), at=Site("model.embedding"),
            additional_forward_args=(torch.ones(count, 3),),
        )  # fmt: skip

    assert known(text_classifier(), make) == [1, 0, 0, 0, 0]


class Masked(nn.Module):
    """Attention with a mask for each row, or one for all, and the values at a place of each."""

    def __init__(self, *, of_each: bool) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(8, 5), nn.Linear(8, 6)
        self.of_each = of_each

    def forward(self, x: Tensor, mask: Tensor, at: Tensor) -> Tensor:
        hidden = (mask if self.of_each else mask[:1]).unsqueeze(1) == 0
        scores = self.score(x).masked_fill(hidden, float("-inf"))
        y = torch.matmul(scores.softmax(-1), self.value(x)).tanh()
        picked = y[torch.arange(len(y)), at]
        last = y.gather(1, at.view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1)
        return picked * last + y[:, [2]].squeeze(1).sigmoid()


@pytest.mark.parametrize("of_each", [True, False])
def test_masks_and_indices_of_each_row_are_compared_with_those_of_its_reference(
    of_each: bool,
) -> None:
    x0 = numbers(1, 5, 8, seed=99)

    def make(count: int, seed: int) -> Evaluation:
        mask = torch.tensor([[1, 1, 1, 1, 0]]).expand(count, -1)
        return compared(
            numbers(count, 5, 8, seed=seed), x0,
            additional_forward_args=(mask, torch.full((count,), 3)),
        )  # fmt: skip

    assert known(seeded(lambda: Masked(of_each=of_each)), make) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("batch_rows", [1, 3, 7])
def test_the_batches_of_one_call_share_what_they_know(batch_rows: int) -> None:
    background = numbers(5, *IMAGE, seed=99)
    question = Explicand.of(numbers(4, *IMAGE), target=[0, 1, 2, 3], baselines=background)
    method = resolve(METHODS["deep_lift_shap"], {"rule": "reveal_cancel"})
    counted = Counted(seeded(resnet))
    answer = explain(counted, method, question, batch_rows=batch_rows)
    # Twenty pairs, and each row of the background once, however the pairs are cut.
    assert sum(counted.rows) == 20 + 5
    expected = explain(counted, method, question, batch_rows=20)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(answer.baseline_output, expected.baseline_output)
