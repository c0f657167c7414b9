"""Forwards that answer for a batch as a whole, or for batches of one size only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.futures import Future

from adcaptum.engine import METHODS, EveryOutput, Explicand, NotPerRow, Site, explain, run
from adcaptum.engine.errors import ModelError
from adcaptum.engine.execution.forwards.whole_batch import WholeBatch
from adcaptum.engine.rows.sources import Path
from adcaptum.engine.vocabulary.evaluation import Neuron
from adcaptum.engine.vocabulary.flow import in_step
from adcaptum.engine.vocabulary.sample_major import SampleMajor
from tests.models import mlp, numbers, two_inputs

METHOD = METHODS["feature_ablation"]()


def test_turned_rows_stand_sample_by_sample_however_they_are_cut() -> None:
    rows = Path((numbers(3, 2),), (numbers(3, 2, seed=1),), torch.linspace(0, 1, 4))
    (straight,) = rows.take(0, 12)
    expected = straight.view(3, 4, 2).transpose(0, 1).reshape(12, 2)
    turned = SampleMajor(rows)
    for size in (1, 2, 3, 5, 12):
        parts = [turned.take(a, min(a + size, 12))[0] for a in range(0, 12, size)]
        assert torch.equal(torch.cat(parts), expected)
    assert turned.examples(4, 8).tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize("name", ["feature_ablation", "shapley_value_sampling", "lime"])
@pytest.mark.parametrize("at", [None, Site("1")])
def test_a_flow_in_step_says_the_same(name: str, at: Site | None) -> None:
    model, x = mlp(), numbers(3, 8)
    method = METHODS[name]()
    mask = torch.arange(16 if at else 8)[None] // 4
    explicand = Explicand.of(
        x, target=[0, 2, 1], at=at or Site("", "input"), feature_mask=mask, seed=4
    )
    expected = explain(model, method, explicand)
    answer = run(model, in_step(method.flow(explicand)), batch_rows=3)
    torch.testing.assert_close(answer.values, expected.values)
    assert answer.rows_used == expected.rows_used


def test_arguments_and_neurons_keep_their_examples_in_step() -> None:
    x, y, weight = numbers(3, 4), numbers(3, 3, seed=1), numbers(3, seed=2).abs()
    model = two_inputs()
    for target in (1, Neuron(Site("a"), (2,))):
        explicand = Explicand.of((x, y), target=target, additional_forward_args=(weight, 2.0))
        expected = explain(model, METHOD, explicand)
        answer = run(model, in_step(METHOD.flow(explicand)), batch_rows=6)
        torch.testing.assert_close(answer.values, expected.values)


def test_one_number_for_the_batch_is_explained() -> None:
    x = numbers(3, 4)
    sizes = []

    def forward(t: Tensor) -> float:
        sizes.append(len(t))
        return float(t.square().mean())

    whole = WholeBatch(forward, 3)
    explicand = Explicand.of(x, target=EveryOutput())
    answer = run(whole, in_step(METHOD.flow(explicand)), batch_rows=3)
    assert sizes == [3] * 5
    assert whole.shape == ()
    assert not whole.per_row
    torch.testing.assert_close(answer.values[0][0], x.square().mean(0) / 4)


def test_a_batch_of_another_size_cannot_be_answered_as_a_whole() -> None:
    whole = WholeBatch(lambda t: t.mean(), 3)
    with pytest.raises(NotPerRow, match="6 rows"):
        whole(numbers(6, 4))


@pytest.mark.parametrize("output", ["text", None])
def test_what_is_neither_a_tensor_nor_a_number_is_refused(output: object) -> None:
    with pytest.raises(ModelError, match="a tensor or a number"):
        WholeBatch(lambda _: output, 3)(numbers(3, 4))


def test_a_forward_that_gives_no_future_is_told_from_one_that_does() -> None:
    with pytest.raises(ModelError, match=r"torch\.futures\.Future"):
        WholeBatch(lambda t: t, 3).later(numbers(3, 4))
    with pytest.raises(ModelError, match="attribute_future"):
        WholeBatch(lambda _: Future(), 3)(numbers(3, 4))
