"""Targets: the numbers that a question asks about."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine.vocabulary.evaluation import Neuron
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions import targets
from adcaptum.service.requests.questions.targets import Rank, Targets
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service.asking import every, index, label
from tests.unit.service.tiny_model import served, tokens


def classes(*shape: int) -> ServedModel:
    """A model with outputs of this shape."""
    model = served()[0]
    return replace(model, checks=replace(model.checks, output_shape=shape))


def top(k: int) -> explain_spec_pb2.Target:
    return explain_spec_pb2.Target(top_k=k)


def indices(found: Targets, count: int, outputs: Tensor | None = None) -> list[Any]:
    return [each.tolist() for each in found.given(count, outputs) if isinstance(each, Tensor)]


def refused(model: ServedModel, *messages: explain_spec_pb2.Target) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        targets.read(messages, model)
    return caught.value.violations[0].field, caught.value.violations[0].description


def test_without_targets_the_largest_output_is_explained() -> None:
    found = targets.read([], classes(4))
    assert found.numbers == (Rank(0),)
    assert targets.read([explain_spec_pb2.Target()], classes(4)).numbers == (Rank(0),)


def test_two_classes_of_every_example_are_two_targets() -> None:
    found = targets.read([index(3), index(1)], classes(4))
    assert indices(found, 2) == [[[3], [3]], [[1], [1]]]
    assert found.origins == (0, 1)


def test_two_numbers_with_two_examples_are_one_for_each() -> None:
    found = targets.read([index(3, 1)], classes(4))
    found.check_examples(2)
    assert indices(found, 2) == [[[3], [1]]]
    with pytest.raises(InvalidRequest, match="per example, or for all 3") as caught:
        found.check_examples(3)
    assert caught.value.violations[0].field == "spec.targets[0].index.values"


def test_an_index_has_a_number_for_each_dimension() -> None:
    found = targets.read([index(1, 2), index(0, 0, 1, 1)], classes(2, 3))
    assert indices(found, 2) == [[[1, 2], [1, 2]], [[0, 0], [1, 1]]]
    field, description = refused(classes(2, 3), index(1))
    assert field == "spec.targets[0].index.values"
    assert "2 numbers per example" in description


def test_there_are_no_more_indices_than_examples_could_have() -> None:
    model = classes(2, 3)
    most = model.loaded.declaration.max_examples
    assert len(targets.read([index(*[1, 2] * most)], model).numbers) == 1
    field, description = refused(model, index(*[1, 2] * (most + 1)))
    assert field == "spec.targets[0].index.values"
    assert f"at most {2 * most} are allowed, for {most} examples" in description


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_index_out_of_range_is_refused_with_its_place(wrong: int) -> None:
    field, description = refused(classes(4), index(0), index(1, wrong))
    assert field == "spec.targets[1].index.values[1]"
    assert "from 0 to 3" in description


def test_ranks_and_all_classes_are_spread_out_in_the_order_of_the_targets() -> None:
    found = targets.read([top(2), index(1), every(), label("yes")], served()[0])
    assert found.count == 6
    assert found.origins == (0, 0, 1, 2, 2, 3)
    chosen = indices(found, 1, torch.tensor([[1.0, 5.0]]))
    assert chosen == [[[1]], [[0]], [[1]], [[0]], [[1]], [[1]]]


def test_equal_outputs_are_ranked_by_index() -> None:
    found = targets.read([top(3)], classes(4))
    assert indices(found, 1, torch.tensor([[1.0, 2.0, 2.0, 1.0]])) == [[[1]], [[2]], [[0]]]


def test_outputs_of_several_dimensions_are_ranked_by_all_their_indices() -> None:
    found = targets.read([], classes(2, 2))
    assert indices(found, 1, torch.tensor([[[1.0, 2.0], [9.0, 3.0]]])) == [[[1, 0]]]


@pytest.mark.parametrize("k", [-1, 0, 5])
def test_a_number_of_ranks_that_there_are_not_is_refused(k: int) -> None:
    assert refused(classes(4), top(k)) == ("spec.targets[0].top_k", f"{k}; must be from 1 to 4")


def test_an_unknown_label_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'yes'") as caught:
        targets.read([label("no"), label("yess")], served()[0])
    assert caught.value.violations[0].field == "spec.targets[1].label"
    assert caught.value.reason is Reason.LABEL_UNKNOWN


def neuron(**fields: Any) -> explain_spec_pb2.Target:
    return explain_spec_pb2.Target(neuron=explain_spec_pb2.Neuron(**fields))


def test_a_neuron_is_a_target_as_an_output_is() -> None:
    found = targets.read(
        [neuron(layer="middle", index=[2]), index(1), neuron(layer="hidden", index=[1], end=[3])],
        tokens(),
    )
    assert not found.needs_outputs
    one, output, block = found.given(2, None)
    assert isinstance(one, Neuron)
    assert (one.site.layer, one.index) == ("hidden", (2,))
    assert isinstance(output, Tensor)
    assert isinstance(block, Neuron)
    assert block.index == (slice(1, 3),)


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "layer", Reason.FIELD_INVALID),
        ({"layer": "hiden", "index": [1]}, "layer", Reason.LAYER_UNKNOWN),
        ({"layer": "hidden"}, "index", Reason.FIELD_INVALID),
        ({"layer": "hidden", "index": [1, 2]}, "index", Reason.FIELD_INVALID),
        ({"layer": "hidden", "index": [-1]}, "index[0]", Reason.FIELD_INVALID),
        ({"layer": "hidden", "index": [1], "end": [1]}, "end[0]", Reason.FIELD_INVALID),
        ({"layer": "hidden", "index": [1], "end": [2, 3]}, "end", Reason.FIELD_INVALID),
    ],
)
def test_a_neuron_that_there_is_not_is_refused_with_its_place(
    fields: dict[str, Any], field: str, reason: Reason
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        targets.read([index(1), neuron(**fields)], tokens())
    assert caught.value.violations[0].field == f"spec.targets[1].neuron.{field}"
    assert caught.value.reason is reason
