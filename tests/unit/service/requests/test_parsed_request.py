"""An Explain request, read."""

from typing import Any

import numpy as np
import pytest
import torch

from adcaptum.engine import explain
from adcaptum.engine.vocabulary.evaluation import Output
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers import costs
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.requests import (
    baseline_reader,
    baselines as references,
    budgets,
    parsed_request as question,
    targets,
)
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import (
    explanation_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    tensor_pb2,
)
from tests.unit.service.tiny_model import served, tokens


def request(rows: int = 2, **fields: Any) -> pb.ExplainRequest:
    data = np.ones((rows, 3), np.float32)
    values = tensor_pb2.Tensor(datatype="FP32", shape=data.shape, data=data.tobytes())
    return pb.ExplainRequest(inputs=[values], **fields)


def read(asked: pb.ExplainRequest) -> question.ParsedRequest:
    return question.read(asked, served()[0], Reading(1000))


def test_the_largest_output_needs_the_outputs_first() -> None:
    assert read(request()).needs_outputs


def test_a_named_target_needs_no_outputs() -> None:
    target = explanation_pb2.Target(label="yes")
    assert not read(request(target=target)).needs_outputs


def test_equal_outputs_are_ranked_by_index() -> None:
    choice = targets.TargetChoice(most=3)
    chosen = choice.given(torch.tensor([[1.0, 2.0, 2.0, 1.0]]))
    assert [int(each) for each in chosen] == [1, 2, 0]


def test_outputs_of_several_dimensions_are_ranked_by_all_their_indices() -> None:
    chosen = targets.TargetChoice(most=1).given(torch.tensor([[[1.0, 2.0], [9.0, 3.0]]]))
    assert chosen[0].tolist() == [[1, 0]]


def test_a_piece_is_made_for_each_method_and_target() -> None:
    methods = [method_pb2.MethodSpec(name=name) for name in ("saliency", "input_x_gradient")]
    target = explanation_pb2.Target(all=explanation_pb2.AllTargets())
    pieces = read(request(methods=methods, target=target)).pieces(None)
    assert [(piece.method, piece.target) for piece in pieces] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    explained = pieces[1].explicand.target
    assert isinstance(explained, Output)
    assert explained.indices is not None
    assert explained.indices.tolist() == [[1], [1]]


SEVERAL = [method_pb2.MethodSpec(name=name) for name in ("saliency", "input_x_gradient")]
YES = explanation_pb2.Target(label="yes")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, True),
        ({"target": YES}, False),
        ({"target": YES, "methods": SEVERAL}, True),
        ({"target": YES, "output": {"return_predictions": True}}, True),
        ({"target": YES, "output": {"return_outputs": True}}, True),
        ({"methods": SEVERAL, "output": {"return_predictions": False}}, False),
    ],
    ids=["the largest", "a label", "several methods", "asked for", "numbers asked for", "unwanted"],
)
def test_the_outputs_are_told_where_they_are_known_or_asked_for(
    fields: dict[str, Any], told: bool
) -> None:
    asked = read(request(**fields))
    assert asked.shows_outputs == told


def test_models_without_labels_make_no_predictions_of_their_own_accord() -> None:
    data = np.ones((1, 2), np.int64)
    ids = tensor_pb2.Tensor(datatype="INT64", shape=data.shape, data=data.tobytes())
    asked = pb.ExplainRequest(inputs=[ids], methods=SEVERAL)
    assert not question.read(asked, tokens(), Reading(1000)).shows_outputs
    asked.output.return_outputs = True
    assert question.read(asked, tokens(), Reading(1000)).shows_outputs


def test_the_estimate_is_what_the_flows_say() -> None:
    asked = read(request(methods=[method_pb2.MethodSpec(name="integrated_gradients")]))
    plan = Explanation(asked)
    plan.first()
    (ask,) = plan.following([type("Reading", (), {"values": torch.eye(2)})()])
    ask.flow.close()
    rows = sum(asked.rows(piece) for piece in plan.pieces)
    assert asked.estimated_rows() == {"forward": 0, "gradient": rows}


def test_a_budget_that_does_not_suffice_for_all_is_shared() -> None:
    methods = [method_pb2.MethodSpec(name="integrated_gradients")] * 2
    asked = request(
        methods=methods,
        target=explanation_pb2.Target(label="yes"),
        budget=explanation_pb2.Budget(max_rows=50),
    )
    outputs, *asks = Explanation(read(asked)).first()
    for ask in (outputs, *asks):
        ask.flow.close()
    assert outputs.max_rows is None
    assert [ask.max_rows for ask in asks] == [25, 25]


def test_with_a_tolerance_a_budget_is_shared_whatever_is_expected() -> None:
    methods = [method_pb2.MethodSpec(name="integrated_gradients")] * 2
    asked = request(
        methods=methods,
        target=explanation_pb2.Target(label="yes"),
        budget=explanation_pb2.Budget(max_rows=5000, tolerance=0.01),
    )
    outputs, *asks = Explanation(read(asked)).first()
    for ask in (outputs, *asks):
        ask.flow.close()
    assert [ask.max_rows for ask in asks] == [2500, 2500]


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidRequest, match="at least 0 and below 1"):
        read(request(budget=explanation_pb2.Budget(tolerance=tolerance)))


def test_a_tolerance_is_for_methods_that_take_one() -> None:
    methods = [method_pb2.MethodSpec(name=name) for name in ("integrated_gradients", "saliency")]
    asked = request(methods=methods, budget=explanation_pb2.Budget(tolerance=0.05))
    with pytest.raises(InvalidRequest, match=r"saliency takes none.*integrated_gradients"):
        read(asked)
    del asked.methods[1]
    (piece,) = read(asked).pieces(torch.eye(2))
    assert piece.explicand.tolerance == 0.05


@pytest.mark.parametrize(
    ("stream", "tolerance", "on_deadline", "partial"),
    [
        (False, 0.0, explanation_pb2.ON_DEADLINE_UNSPECIFIED, False),
        (True, 0.0, explanation_pb2.ON_DEADLINE_UNSPECIFIED, True),
        (False, 0.1, explanation_pb2.ON_DEADLINE_UNSPECIFIED, True),
        (False, 0.0, explanation_pb2.ON_DEADLINE_PARTIAL, True),
        (True, 0.1, explanation_pb2.ON_DEADLINE_FAIL, False),
    ],
)
def test_streams_and_tolerances_have_partial_answers_where_nothing_is_said(
    stream: bool, tolerance: float, on_deadline: Any, partial: bool
) -> None:
    budget = explanation_pb2.Budget(tolerance=tolerance, on_deadline=on_deadline)
    assert budgets.partial(budget, stream=stream) is partial


def test_more_methods_than_allowed_are_refused() -> None:
    methods = [method_pb2.MethodSpec(name="saliency")] * 33
    with pytest.raises(InvalidRequest, match="at most 32"):
        read(request(methods=methods))


def test_the_same_seed_draws_the_same_background_rows() -> None:
    baseline = explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=2))
    drawn = [
        read(request(baselines=[baseline], seed=seed)).parts[0].baselines.tensors[0]
        for seed in (1, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert len(drawn[0].unique(dim=0)) == 2


def test_a_blurred_image_keeps_its_mean_where_nothing_is_cut_off() -> None:
    declared = InputDeclaration("photo", "image", "FP32", (-1, 1, 21, 21))
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 10, 10] = 1
    blurred = baseline_reader.blurred(image, 2.0, declared, "x", Reading(1000))
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    assert blurred.max() < 0.1


def test_a_plain_image_does_not_change_when_it_is_blurred() -> None:
    declared = InputDeclaration("photo", "image", "FP32", (-1, 1, 9, 9))
    plain = torch.full((1, 1, 9, 9), 0.7)
    torch.testing.assert_close(
        baseline_reader.blurred(plain, 5.0, declared, "x", Reading(1000)), plain
    )


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_blur_that_makes_no_sense_is_refused(sigma: float) -> None:
    declared = InputDeclaration("photo", "image", "FP32", (-1, 1, 9, 9))
    with pytest.raises(InvalidRequest, match="above 0"):
        baseline_reader.blurred(torch.zeros(1, 1, 9, 9), sigma, declared, "x", Reading(1000))


def given(*kinds: str | None) -> tuple[list[explanation_pb2.Baseline], list[int | None]]:
    """Baselines of these kinds; None for an input of which the request says nothing."""
    made = {
        "samples": explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=1)),
        "tensor": explanation_pb2.Baseline(tensor=tensor_pb2.Tensor()),
    }
    messages = [made[kind] for kind in kinds if kind is not None]
    places = iter(range(len(messages)))
    return messages, [None if kind is None else next(places) for kind in kinds]


@pytest.mark.parametrize(
    ("rows", "kind", "distribution"),
    [
        (1, "tensor", ""),
        (3, "tensor", ""),
        (4, "tensor", "baselines[0].tensor"),
        (1, "samples", ""),
        (3, "samples", "baselines[0].samples"),
    ],
)
def test_rows_are_a_distribution_by_their_kind_and_number(
    rows: int, kind: str, distribution: str
) -> None:
    messages, places = given(kind)
    found = references.compared((torch.ones(rows, 2),), messages, places, 3, "baselines")
    assert found.distribution == distribution
    assert found.rows == rows


def test_an_input_with_one_baseline_has_it_in_every_row_of_anothers_distribution() -> None:
    messages, places = given("samples", None)
    tensors = (torch.ones(5, 2), torch.zeros(1, 4))
    found = references.compared(tensors, messages, places, 3, "baselines")
    assert [each.shape for each in found.tensors] == [(5, 2), (5, 4)]


def test_inputs_with_distributions_of_different_sizes_are_refused() -> None:
    messages, places = given("samples", "tensor")
    tensors = (torch.ones(5, 2), torch.zeros(4, 4))
    with pytest.raises(InvalidRequest, match="4, 5"):
        references.compared(tensors, messages, places, 3, "baselines")


def test_a_text_has_its_own_row_of_the_baselines_at_a_layer() -> None:
    found = references.Baselines((torch.arange(6.0).view(3, 2), torch.tensor(0.5)))
    own = found.of_example(1, 3)
    assert own.tensors[0].tolist() == [[2.0, 3.0]]
    assert own.tensors[1].item() == 0.5
    shared = references.Baselines((torch.ones(3, 2),), "layer_baselines[0].tensor")
    assert shared.of_example(1, 3) is shared


@pytest.mark.parametrize("length", [2, 3, 6])
def test_rows_at_a_layer_are_foretold_by_its_length_for_this_input(length: int) -> None:
    model = tokens()
    ids = torch.arange(length).unsqueeze(0)
    values = tensor_pb2.Tensor(datatype="INT64", shape=ids.shape, data=ids.numpy().tobytes())
    target = explanation_pb2.Target(indices=explanation_pb2.TargetIndices(values=[1]))
    asked = question.read(
        pb.ExplainRequest(
            inputs=[values],
            target=target,
            methods=[method_pb2.MethodSpec(name="feature_ablation")],
            layer=explanation_pb2.Layer(name="embedding"),
        ),
        model,
        Reading(1000),
    )
    (piece,) = asked.pieces(None)
    answer = explain(model.loaded.module, asked.methods[0].method, piece.explicand)
    assert asked.rows(piece) == answer.rows_used == 3 + 6 * length


def held(method: str, rows: int = 8, **fields: Any) -> int:
    parsed = read(request(rows, methods=[method_pb2.MethodSpec(name=method)], **fields))
    return costs.of_explanation(parsed).nbytes


def test_the_bytes_of_a_request_include_what_its_method_holds() -> None:
    values = 8 * 3 * 4
    # Twenty copies, and the gradient of each.
    assert held("smooth_grad") - held("saliency") > 2 * 20 * values


def test_every_target_has_a_flow_that_holds_memory() -> None:
    one = explanation_pb2.Target(label="yes")
    every = explanation_pb2.Target(all=explanation_pb2.AllTargets())
    assert held("smooth_grad", target=every) > 1.9 * held("smooth_grad", target=one)


def of_ids(method: str, **fields: Any) -> question.ParsedRequest:
    data = np.ones((2, 5), np.int64)
    ids = tensor_pb2.Tensor(datatype="INT64", shape=data.shape, data=data.tobytes())
    methods = [method_pb2.MethodSpec(name=method)]
    asked = pb.ExplainRequest(inputs=[ids], methods=methods, **fields)
    return question.read(asked, tokens(), Reading(1000))


EMBEDDED = 2 * 5 * 6 * 4
"""The bytes of the embeddings of these ids."""


def test_values_at_a_layer_count_with_their_own_size() -> None:
    at_layer = of_ids("activation", layer=explanation_pb2.Layer(name="embedding"))
    assert at_layer.planned_bytes >= EMBEDDED


def test_integers_are_explained_at_their_embeddings_which_are_larger() -> None:
    # Twenty copies, and the gradient of each.
    assert of_ids("smooth_grad").planned_bytes >= 2 * 20 * EMBEDDED


def test_a_prediction_counts_its_outputs() -> None:
    model = served()[0]
    inputs = read(request()).inputs
    assert costs.of_prediction(inputs, model).nbytes == 2 * 2 * 3 * 4 + 2 * 2 * 4
