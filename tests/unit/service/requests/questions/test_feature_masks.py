"""Feature masks of inputs and of layers, with names."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adcaptum.engine import explain
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions import feature_masks
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, method, tensor, typed
from tests.unit.service.tiny_model import served, tokens

ROWS = np.ones((2, 3), np.float32)


def mask(values: Any, **fields: Any) -> explain_spec_pb2.FeatureMask:
    return explain_spec_pb2.FeatureMask(tensor=tensor(np.array(values)), **fields)


def read(*masks: explain_spec_pb2.FeatureMask, **fields: Any) -> ParsedRequest:
    asked = asking.explain(
        ROWS,
        methods=[method("feature_ablation")],
        targets=[index(1)],
        feature_masks=masks,
        **fields,
    )
    return asking.read(asked, served()[0])


def refused(*masks: explain_spec_pb2.FeatureMask) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(*masks)
    return caught.value.violations[0].field, caught.value.violations[0].description


@pytest.mark.parametrize(
    "given",
    [
        mask([[4, 0, 4]]),
        explain_spec_pb2.FeatureMask(tensor=typed([4, 0, 4])),
        explain_spec_pb2.FeatureMask(tensor=typed([4, 0, 4], datatype="UINT8")),
        mask([[4, 0, 4]], input="x"),
    ],
    ids=["data", "typed", "typed bytes", "named"],
)
def test_elements_with_equal_numbers_are_one_feature(
    given: explain_spec_pb2.FeatureMask,
) -> None:
    parsed = read(given)
    assert parsed.masks is not None
    assert parsed.masks.tensors[0].tolist() == [[4, 0, 4]]
    assert parsed.masks.tensors[0].dtype == torch.int64
    assert not parsed.masks.names


def test_features_have_the_names_of_their_numbers() -> None:
    parsed = read(mask([[2, 0, 2]], names=["first", "", "others"]))
    assert parsed.masks is not None
    assert parsed.masks.names == {0: "first", 2: "others"}


def test_a_feature_without_a_name_among_names_is_refused() -> None:
    field, description = refused(mask([[0, 1, 2]], names=["a", "b"]))
    assert field == "spec.feature_masks[0].names"
    assert "must be 3 or more" in description


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (explain_spec_pb2.FeatureMask(), ""),
        (mask([[0, 1, 2]], input="y"), ".input"),
        (mask([[0.5, 1, 2]]), ".tensor.datatype"),
        (mask([[0, -1, 2]]), ".tensor"),
        (mask([[0, 1]]), ".tensor.shape"),
        (mask([0, 1, 2]), ".tensor.shape"),
        (mask([[0, 1, 2]] * 3), ".tensor.shape"),
        (explain_spec_pb2.FeatureMask(tensor=typed([0.5, 1, 2])), ".tensor.values"),
        (explain_spec_pb2.FeatureMask(tensor=typed("a")), ".tensor.values"),
    ],
)
def test_what_is_no_mask_of_the_input_is_refused(
    given: explain_spec_pb2.FeatureMask, field: str
) -> None:
    assert refused(given)[0] == f"spec.feature_masks[0]{field}"


def two_inputs() -> tuple[ServedModel, Inputs]:
    model = served()[0]
    declared = tuple(InputDeclaration(name, "tensor", "FP32", (-1, 2)) for name in ("a", "b"))
    declaration = replace(model.loaded.declaration, inputs=declared)
    changed = replace(model, loaded=replace(model.loaded, declaration=declaration))
    return changed, Inputs((torch.ones(1, 2), torch.ones(1, 2)))


def test_features_of_several_inputs_share_numbers_and_names() -> None:
    model, inputs = two_inputs()
    both = [
        mask([[0, 1]], input="a", names=["x", "y"]),
        mask([[1, 2]], input="b", names=["", "y", "z"]),
    ]
    found = feature_masks.of_inputs(both, model, inputs)
    assert found is not None
    assert found.names == {0: "x", 1: "y", 2: "z"}
    both[1].names[1] = "other"
    with pytest.raises(InvalidRequest, match="'y' already") as caught:
        feature_masks.of_inputs(both, model, inputs)
    assert caught.value.violations[0].field == "spec.feature_masks[1].names[1]"


def test_elements_of_an_input_without_a_mask_are_features_beyond_those_of_others() -> None:
    model, inputs = two_inputs()
    found = feature_masks.of_inputs([mask([[0, 5]], input="b")], model, inputs)
    assert found is not None
    assert [each.tolist() for each in found.tensors] == [[[6, 7]], [[0, 5]]]


def test_numbers_are_left_for_inputs_without_a_mask() -> None:
    model, inputs = two_inputs()
    largest = np.iinfo(np.int64).max
    for number in (largest, largest - 1):
        with pytest.raises(InvalidRequest, match=f"{number}; must be less") as caught:
            feature_masks.of_inputs([mask([[0, number]], input="b")], model, inputs)
        assert caught.value.violations[0].field == "spec.feature_masks[0].tensor"
    assert feature_masks.of_inputs([mask([[0, largest - 3]], input="b")], model, inputs)


IDS = np.array([[1, 4, 7], [2, 2, 5]])


def at_layer(given: NDArray[np.int64], name: str = "feature_ablation", **more: Any) -> Any:
    site = explain_spec_pb2.Site(
        layer="middle", feature_masks=[explain_spec_pb2.FeatureMask(tensor=tensor(given), **more)]
    )
    return asking.explain(IDS, methods=[method(name)], targets=[index(1)], site=site)


def test_a_layer_has_masks_of_its_own() -> None:
    model = tokens()
    parsed = asking.read(at_layer(np.array([[0, 0, 1, 1, 1]]), names=["a", "b"]), model)
    assert parsed.masks is not None
    assert parsed.masks.names == {0: "a", 1: "b"}
    (piece,) = parsed.pieces(None)
    found = explain(model.loaded.module, parsed.methods[0].method, piece.explicand)
    values = found.values[0]
    assert values.shape == (2, 5)
    assert torch.equal(values[:, 0], values[:, 1])
    assert not torch.equal(values[:, 1], values[:, 2])


def test_a_mask_of_a_layer_has_one_row_or_one_per_example() -> None:
    each = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
    parsed = asking.read(at_layer(each), tokens())
    assert parsed.masks is not None
    assert [own.tolist() for own in parsed.masks.of_examples(1, 1, 2)] == [[[0, 1, 1, 1, 1]]]
    with pytest.raises(InvalidRequest, match="the 2 examples") as caught:
        asking.read(at_layer(np.zeros((3, 5), np.int64)), tokens())
    assert caught.value.violations[0].field == "spec.site.feature_masks[0].tensor.shape"


def test_a_mask_of_a_layer_names_no_input() -> None:
    with pytest.raises(InvalidRequest, match="must be empty") as caught:
        asking.read(at_layer(np.zeros((1, 5), np.int64), input="ids"), tokens())
    assert caught.value.violations[0].field == "spec.site.feature_masks[0].input"


def test_masks_of_inputs_are_refused_where_a_layer_is_explained() -> None:
    asked = asking.explain(
        IDS,
        methods=[method("feature_ablation")],
        targets=[index(1)],
        site=explain_spec_pb2.Site(layer="middle"),
        feature_masks=[mask([[0, 1, 1]])],
    )
    with pytest.raises(InvalidRequest, match=r"spec\.site\.feature_masks") as caught:
        asking.read(asked, tokens())
    assert caught.value.violations[0].field == "spec.feature_masks"
