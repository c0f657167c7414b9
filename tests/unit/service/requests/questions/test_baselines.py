"""Baselines of inputs and of layers."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adcaptum.engine import explain
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions import baselines as references
from adcaptum.v1 import explain_spec_pb2, tensor_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, method, tensor, typed
from tests.unit.service.tiny_model import served, tokens

Baseline = explain_spec_pb2.Baseline
ROWS = np.arange(9, dtype=np.float32).reshape(3, 3) / 9
COMPARING = ["integrated_gradients", "gradient_shap"]


def rows(count: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, 3 * count, dtype=np.float32).reshape(count, 3)


def read(*baselines: Baseline, name: str = "gradient_shap", **fields: Any) -> ParsedRequest:
    asked = asking.explain(
        ROWS, methods=[method(name)], targets=[index(1)], baselines=baselines, **fields
    )
    return asking.read(asked, served()[0])


def refused(*baselines: Baseline, name: str = "gradient_shap") -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(*baselines, name=name)
    return caught.value.violations[0].field, caught.value.violations[0].description


@pytest.mark.parametrize("name", COMPARING)
def test_one_row_is_the_baseline_of_every_example(name: str) -> None:
    parsed = read(Baseline(tensor=tensor(rows(1))), name=name)
    found = parsed.parts[0].baselines
    assert torch.equal(found.tensors[0], torch.from_numpy(rows(1)))
    assert (found.distribution, found.of_each) == ("", False)
    assert not any(piece.explicand.background for piece in parsed.pieces(None))


@pytest.mark.parametrize("name", COMPARING)
@pytest.mark.parametrize("count", [2, 4, 10])
def test_a_tensor_of_another_number_of_rows_is_refused_with_a_hint(count: int, name: str) -> None:
    field, description = refused(Baseline(tensor=tensor(rows(count))), name=name)
    assert field == "spec.baselines[0].tensor.shape"
    assert f"{count} rows for 3 examples" in description
    assert "`distribution`" in description


def test_a_tensor_of_a_row_per_example_is_never_a_distribution() -> None:
    parsed = read(Baseline(tensor=tensor(rows(3))))
    pieces = parsed.pieces(None)
    # To this method several rows are a distribution: so each example is explained alone.
    assert [(each.part.first, each.part.inputs.count) for each in pieces] == [
        (0, 1), (1, 1), (2, 1),
    ]  # fmt: skip
    for example, piece in enumerate(pieces):
        given = piece.explicand.baselines
        assert given is not None
        assert given[0].tolist() == [rows(3)[example].tolist()]
        assert not piece.explicand.background
        assert piece.explicand.inputs[0].tolist() == [ROWS[example].tolist()]


def test_examples_with_a_baseline_each_have_the_answers_that_they_have_alone() -> None:
    model = served()[0]
    parsed = read(Baseline(tensor=tensor(rows(3))), name="expected_gradients")
    for example, piece in enumerate(parsed.pieces(None)):
        alone = asking.explain(
            ROWS[example : example + 1],
            methods=[method("expected_gradients")],
            targets=[index(1)],
            baselines=[Baseline(tensor=tensor(rows(3)[example : example + 1]))],
        )
        (one,) = asking.read(alone, model).pieces(None)
        ours, theirs = (
            explain(model.loaded.module, parsed.methods[0].method, each.explicand)
            for each in (piece, one)
        )
        torch.testing.assert_close(ours.values[0], theirs.values[0])


def test_other_methods_of_the_request_explain_their_examples_together() -> None:
    asked = asking.explain(
        ROWS,
        methods=[method("integrated_gradients"), method("deep_lift_shap")],
        targets=[index(1)],
        baselines=[Baseline(tensor=tensor(rows(3)))],
    )
    pieces = asking.read(asked, served()[0]).pieces(None)
    assert [(each.method, each.part.inputs.count) for each in pieces] == [
        (0, 3), (1, 1), (1, 1), (1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_distribution_is_one_whatever_its_number_of_rows(count: int) -> None:
    parsed = read(Baseline(distribution=tensor(rows(count))))
    (piece,) = parsed.pieces(None)
    assert piece.part.inputs.count == 3
    assert piece.explicand.background
    assert piece.explicand.background_rows == count
    assert piece.part.baselines.distribution == "spec.baselines[0].distribution"


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_distribution_is_refused_by_methods_of_one_baseline(count: int) -> None:
    given = Baseline(distribution=tensor(rows(count)))
    field, description = refused(given, name="integrated_gradients")
    assert field == "spec.baselines[0].distribution"
    assert "gradient_shap" in description


@pytest.mark.parametrize("count", [1, 3])
def test_rows_of_the_background_set_are_a_distribution(count: int) -> None:
    background = Baseline(background=explain_spec_pb2.Background(count=count))
    (piece,) = read(background).pieces(None)
    assert piece.explicand.background
    assert piece.explicand.background_rows == count
    field, _ = refused(background, name="integrated_gradients")
    assert field == "spec.baselines[0].background"


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_more_rows_than_the_background_set_has_are_refused(count: int) -> None:
    field, description = refused(Baseline(background=explain_spec_pb2.Background(count=count)))
    assert field == "spec.baselines[0].background.count"
    assert "from 1 to 3" in description


@pytest.mark.parametrize("kind", ["tensor", "distribution"])
def test_rows_may_be_typed(kind: str) -> None:
    values = typed([0.5, 0.25, 1], [1, 2, 3], [4, 5, 6])
    parsed = read(asking.baseline(kind, values))
    assert parsed.parts[0].baselines.tensors[0].tolist() == [[0.5, 0.25, 1], [1, 2, 3], [4, 5, 6]]
    # The reply has the form of the inputs.
    assert not parsed.as_values


def test_a_baseline_without_a_reference_is_refused() -> None:
    assert refused(Baseline())[0] == "spec.baselines[0]"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'zero'") as caught:
        read(Baseline(named="zeros"))
    assert caught.value.violations[0].field == "spec.baselines[0].named"
    assert caught.value.reason is Reason.BASELINE_UNKNOWN
    assert read(Baseline(named="zero")).parts[0].baselines.tensors[0].tolist() == [[0.0] * 3]


def test_the_input_of_a_baseline_is_named_in_its_own_field() -> None:
    assert refused(Baseline(input="y", constant=1))[0] == "spec.baselines[0].input"
    assert read(Baseline(input="x", constant=1)).parts[0].baselines.rows == 1
    twice = Baseline(constant=1)
    assert refused(twice, twice)[0] == "spec.baselines[1].input"


def given(*kinds: str | None) -> tuple[list[Baseline], list[int | None]]:
    """Baselines of these kinds; None for an input of which the request says nothing."""
    made = {
        "background": Baseline(background=explain_spec_pb2.Background(count=1)),
        "tensor": Baseline(tensor=tensor_pb2.Tensor()),
        "distribution": Baseline(distribution=tensor_pb2.Tensor()),
    }
    messages = [made[kind] for kind in kinds if kind is not None]
    places = iter(range(len(messages)))
    return messages, [None if kind is None else next(places) for kind in kinds]


def test_an_input_with_one_baseline_has_it_in_every_row_of_anothers_distribution() -> None:
    messages, places = given("background", None, "tensor")
    tensors = (torch.ones(5, 2), torch.zeros(1, 4), torch.zeros(1, 3))
    found = references.compared(tensors, messages, places, 3, "baselines")
    assert [each.shape for each in found.tensors] == [(5, 2), (5, 4), (5, 3)]


def test_inputs_with_distributions_of_different_sizes_are_refused() -> None:
    messages, places = given("background", "distribution")
    tensors = (torch.ones(5, 2), torch.zeros(4, 4))
    with pytest.raises(InvalidRequest, match="4, 5"):
        references.compared(tensors, messages, places, 3, "baselines")


def test_a_row_per_example_beside_a_distribution_is_refused_though_the_numbers_are_equal() -> None:
    messages, places = given("distribution", "tensor")
    tensors = (torch.ones(3, 2), torch.zeros(3, 4))
    with pytest.raises(InvalidRequest, match="beside a distribution") as caught:
        references.compared(tensors, messages, places, 3, "baselines")
    assert caught.value.violations[0].field == "baselines[1].tensor"


def test_a_text_has_its_own_row_of_the_baselines_at_a_layer() -> None:
    found = references.Baselines((torch.arange(6.0).view(3, 2), torch.tensor(0.5)))
    own = found.of_example(1, 3)
    assert own.tensors[0].tolist() == [[2.0, 3.0]]
    assert own.tensors[1].item() == 0.5
    shared = references.Baselines((torch.ones(3, 2),), "spec.site.baselines[0].distribution")
    assert shared.of_example(1, 3) is shared


IDS = np.array([[1, 4, 7], [2, 2, 5]])


def at_layer(name: str, *baselines: Baseline, **fields: Any) -> ParsedRequest:
    site = explain_spec_pb2.Site(layer="middle", baselines=baselines)
    asked = asking.explain(IDS, methods=[method(name)], targets=[index(1)], site=site, **fields)
    return asking.read(asked, tokens())


def test_a_layer_has_baselines_in_its_own_space() -> None:
    single, each, many = (np.full((count, 5), 0.5, np.float32) for count in (1, 2, 7))
    for given_, shape in (
        (Baseline(constant=0.5), ()),
        (Baseline(tensor=tensor(single)), (1, 5)),
        (Baseline(tensor=tensor(each)), (2, 5)),
        (Baseline(tensor=typed([0.5] * 5)), (1, 5)),
    ):
        (piece,) = at_layer("integrated_gradients", given_).pieces(None)
        assert piece.explicand.starts is not None
        assert piece.explicand.starts[0].shape == shape
        assert not piece.explicand.background
    (piece,) = at_layer("expected_gradients", Baseline(distribution=tensor(many))).pieces(None)
    assert piece.explicand.background
    assert piece.explicand.background_rows == 7
    with pytest.raises(InvalidRequest, match="`distribution`") as caught:
        at_layer("expected_gradients", Baseline(tensor=tensor(many)))
    assert caught.value.violations[0].field == "spec.site.baselines[0].tensor.shape"


def test_a_layers_baseline_of_each_example_is_no_distribution() -> None:
    each = np.array([[0.5] * 5, [1.5] * 5], np.float32)
    pieces = at_layer("expected_gradients", Baseline(tensor=tensor(each))).pieces(None)
    assert [piece.explicand.starts[0].tolist() for piece in pieces if piece.explicand.starts] == [
        [[0.5] * 5],
        [[1.5] * 5],
    ]
    assert [piece.explicand.inputs[0].tolist() for piece in pieces] == [[[1, 4, 7]], [[2, 2, 5]]]


@pytest.mark.parametrize(
    ("baseline", "field"),
    [
        (Baseline(), ""),
        (Baseline(named="zero"), ".named"),
        (Baseline(blur=explain_spec_pb2.Blur(sigma=1)), ".blur"),
        (Baseline(background=explain_spec_pb2.Background(count=1)), ".background"),
        (Baseline(constant=1, input="ids"), ".input"),
        (Baseline(constant=float("nan")), ".constant"),
        (Baseline(tensor=tensor(np.ones((1, 5), np.int64))), ".tensor"),
        (Baseline(tensor=typed("a")), ".tensor.values"),
    ],
)
def test_what_a_layer_has_no_baseline_for_is_refused(baseline: Baseline, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        at_layer("integrated_gradients", baseline)
    assert caught.value.violations[0].field == f"spec.site.baselines[0]{field}"


def test_baselines_of_inputs_and_of_a_layer_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest, match="one of the two") as caught:
        at_layer("integrated_gradients", Baseline(constant=1), baselines=[Baseline(constant=1)])
    assert caught.value.violations[0].field == "spec.site.baselines"


@pytest.mark.parametrize("name", ["integrated_gradients", "gradient_shap", "expected_gradients"])
def test_a_number_is_a_baseline_of_a_layer_with_a_tolerance_too(name: str) -> None:
    # Its rows were counted as those of a list, which a number does not have.
    budget = explain_spec_pb2.Budget(tolerance=0.1)
    parsed = at_layer(name, Baseline(constant=0.5), budget=budget)
    assert all(planned > 0 for planned in parsed.planned_rows)
