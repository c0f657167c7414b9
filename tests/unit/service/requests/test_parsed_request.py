"""An Explain request, read."""

from typing import Any

import numpy as np
import pytest
import torch

from adcaptum.engine import explain
from adcaptum.engine.vocabulary.evaluation import Neuron, Output
from adcaptum.service.errors import InvalidRequest, Unsupported
from adcaptum.service.handlers import costs
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.requests import budgets, parsed_request as question
from adcaptum.service.requests.budgets import Budget
from adcaptum.service.requests.questions import baseline_reader
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb
from tests.unit.service import asking
from tests.unit.service.asking import every, index, label, method
from tests.unit.service.tiny_model import served, tokens


def request(rows: int = 2, **fields: Any) -> pb.ExplainRequest:
    return asking.explain(np.ones((rows, 3), np.float32), **fields)


def read(asked: pb.ExplainRequest) -> question.ParsedRequest:
    return asking.read(asked, served()[0])


def of_neuron(layer: str, *position: int) -> explain_spec_pb2.Target:
    return explain_spec_pb2.Target(neuron=explain_spec_pb2.Neuron(layer=layer, index=position))


def test_the_largest_output_needs_the_outputs_first() -> None:
    assert read(request()).needs_outputs


def test_a_named_target_needs_no_outputs() -> None:
    assert not read(request(targets=[label("yes")])).needs_outputs


def test_a_piece_is_made_for_each_method_and_target() -> None:
    methods = [method(name) for name in ("saliency", "input_x_gradient")]
    pieces = read(request(methods=methods, targets=[every()])).pieces(None)
    assert [(piece.method, piece.target) for piece in pieces] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    explained = pieces[1].explicand.target
    assert isinstance(explained, Output)
    assert explained.indices is not None
    assert explained.indices.tolist() == [[1], [1]]


def test_outputs_and_neurons_are_explained_side_by_side() -> None:
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    targets = [of_neuron("hidden", 4), explain_spec_pb2.Target(top_k=2), index(0, 1)]
    asked = asking.explain(ids, methods=[method("feature_ablation")], targets=targets)
    parsed = asking.read(asked, tokens())
    assert parsed.needs_outputs
    pieces = parsed.pieces(torch.tensor([[1.0, 2.0], [4.0, 3.0]]))
    assert [each.target for each in pieces] == [0, 1, 2, 3]
    assert isinstance(pieces[0].explicand.target, Neuron)
    assert [each.indices.tolist() for each in pieces] == [
        [[], []],
        [[1], [0]],
        [[0], [1]],
        [[0], [1]],
    ]
    assert parsed.targets.origins == (0, 1, 1, 2)


def test_a_method_that_the_model_cannot_run_fails_alone() -> None:
    ids = np.array([[1, 2, 3]])
    methods = [method("guided_grad_cam"), method("feature_ablation")]
    layered = {"site": explain_spec_pb2.Site(layer="hidden"), "targets": [index(1)]}
    parsed = asking.read(asking.explain(ids, methods=methods, **layered), tokens())
    (failed,) = parsed.failures.items()
    assert failed[0] == 0
    assert isinstance(failed[1], Unsupported)
    assert [each.method for each in parsed.pieces(None)] == [1]
    assert parsed.planned_rows[0] == 0
    with pytest.raises(Unsupported, match="guided_grad_cam"):
        asking.read(asking.explain(ids, methods=methods[:1], **layered), tokens())


def test_a_request_has_as_many_methods_as_it_names_or_its_preset() -> None:
    assert [each.spec.name for each in read(request()).methods] == ["saliency"]
    steps = [method("integrated_gradients", n_steps=each) for each in (4, 60)]
    parsed = read(request(methods=steps))
    assert [each.spec.params["n_steps"].number_value for each in parsed.methods] == [4, 60]


SEVERAL = [method(name) for name in ("saliency", "input_x_gradient")]
YES = [label("yes")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, True),
        ({"targets": YES}, False),
        ({"targets": YES, "methods": SEVERAL}, True),
        ({"targets": YES, "output": {"return_predictions": True}}, True),
        ({"targets": YES, "output": {"return_outputs": True}}, True),
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
    asked = asking.explain(np.ones((1, 2), np.int64), methods=SEVERAL)
    assert not asking.read(asked, tokens()).shows_outputs
    asked.spec.output.return_outputs = True
    assert asking.read(asked, tokens()).shows_outputs


def test_the_estimate_is_what_the_flows_say() -> None:
    asked = read(request(methods=[method("integrated_gradients")]))
    plan = ExplanationPlan(asked)
    plan.first()
    (ask,) = plan.following([type("Reading", (), {"values": torch.eye(2)})()])
    ask.flow.close()
    rows = sum(asked.rows(piece) for piece in plan.pieces)
    assert asked.estimated_rows() == {"forward": 0, "gradient": rows}


def test_a_budget_that_does_not_suffice_for_all_is_shared() -> None:
    methods = [method("integrated_gradients")] * 2
    asked = request(
        methods=methods,
        targets=YES,
        budget=explain_spec_pb2.Budget(max_rows=50),
    )
    outputs, *asks = ExplanationPlan(read(asked)).first()
    for ask in (outputs, *asks):
        ask.flow.close()
    assert outputs.max_rows is None
    assert [ask.max_rows for ask in asks] == [25, 25]


def test_with_a_tolerance_a_budget_is_shared_whatever_is_expected() -> None:
    methods = [method("integrated_gradients")] * 2
    asked = request(
        methods=methods,
        targets=YES,
        budget=explain_spec_pb2.Budget(max_rows=5000, tolerance=0.01),
    )
    outputs, *asks = ExplanationPlan(read(asked)).first()
    for ask in (outputs, *asks):
        ask.flow.close()
    assert [ask.max_rows for ask in asks] == [2500, 2500]


@pytest.mark.parametrize("tolerance", [-0.1, 0.0, 1.0, float("nan"), float("inf")])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidRequest, match="from 1e-09 to below 1") as caught:
        read(request(budget=explain_spec_pb2.Budget(tolerance=tolerance)))
    assert caught.value.violations[0].field == "spec.budget.tolerance"


@pytest.mark.parametrize("rows", [-1, 0, 100_001])
def test_a_budget_of_no_row_or_of_too_many_is_refused(rows: int) -> None:
    with pytest.raises(InvalidRequest, match="at least 1 and at most 100000") as caught:
        read(request(budget=explain_spec_pb2.Budget(max_rows=rows)))
    assert caught.value.violations[0].field == "spec.budget.max_rows"


def test_without_a_budget_the_models_holds() -> None:
    assert read(request()).budget == Budget(100_000)
    assert read(request(budget=explain_spec_pb2.Budget())).budget == Budget(100_000)
    assert read(request(budget=explain_spec_pb2.Budget(max_rows=7))).budget == Budget(7)


def test_a_tolerance_is_for_methods_that_take_one() -> None:
    methods = [method(name) for name in ("integrated_gradients", "saliency")]
    asked = request(methods=methods, budget=explain_spec_pb2.Budget(tolerance=0.05))
    with pytest.raises(InvalidRequest, match=r"saliency takes none.*integrated_gradients"):
        read(asked)
    del asked.spec.methods[1]
    (piece,) = read(asked).pieces(torch.eye(2))
    assert piece.explicand.tolerance == 0.05


@pytest.mark.parametrize(
    ("stream", "tolerance", "on_deadline", "partial"),
    [
        (False, None, pb.ON_DEADLINE_UNSPECIFIED, False),
        (True, None, pb.ON_DEADLINE_UNSPECIFIED, True),
        (False, 0.1, pb.ON_DEADLINE_UNSPECIFIED, True),
        (False, None, pb.ON_DEADLINE_PARTIAL, True),
        (True, 0.1, pb.ON_DEADLINE_FAIL, False),
    ],
)
def test_streams_and_tolerances_have_partial_answers_where_nothing_is_said(
    stream: bool, tolerance: float | None, on_deadline: Any, partial: bool
) -> None:
    asked = pb.ExplainRequest(on_deadline=on_deadline)
    assert budgets.partial(asked, Budget(1, tolerance), stream=stream) is partial


def test_more_methods_than_allowed_are_refused() -> None:
    methods = [method("saliency")] * 33
    with pytest.raises(InvalidRequest, match="must be from 1 to 32"):
        read(request(methods=methods))


def test_the_same_seed_draws_the_same_background_rows() -> None:
    baseline = explain_spec_pb2.Baseline(background=explain_spec_pb2.Background(count=2))
    methods = [method("gradient_shap")]
    drawn = [
        read(request(methods=methods, baselines=[baseline], seed=seed))
        .parts[0]
        .baselines.tensors[0]
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


@pytest.mark.parametrize("length", [2, 3, 6])
def test_rows_at_a_layer_are_foretold_by_its_length_for_this_input(length: int) -> None:
    model = tokens()
    ids = torch.arange(length).unsqueeze(0)
    asked = asking.read(
        asking.explain(
            ids.numpy(),
            targets=[index(1)],
            methods=[method("feature_ablation")],
            site=explain_spec_pb2.Site(layer="embedding"),
        ),
        model,
    )
    (piece,) = asked.pieces(None)
    answer = explain(model.loaded.module, asked.methods[0].method, piece.explicand)
    assert asked.rows(piece) == answer.rows_used == 3 + 6 * length


def test_a_seed_is_at_least_zero() -> None:
    assert read(request()).seed == 0
    assert read(request(seed=5)).seed == 5
    with pytest.raises(InvalidRequest, match="at least 0") as caught:
        read(request(seed=-1))
    assert caught.value.violations[0].field == "spec.seed"


@pytest.mark.parametrize(
    ("output", "field"),
    [
        ({"max_features": 0}, "max_features"),
        ({"max_labels": 0}, "max_labels"),
        ({"max_labels": -1}, "max_labels"),
        ({"datatype": "BF16"}, "datatype"),
        ({"channel_reduction": 7}, "channel_reduction"),
    ],
)
def test_a_reply_that_makes_no_sense_is_refused(output: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(request(output=explain_spec_pb2.OutputOptions(**output)))
    assert caught.value.violations[0].field == f"spec.output.{field}"


def test_numbers_are_of_float32_where_nothing_is_said() -> None:
    assert read(request()).output.datatype == "FP32"
    asked = request(output=explain_spec_pb2.OutputOptions(datatype="FP16"))
    assert read(asked).output.datatype == "FP16"


def held(name: str, rows: int = 8, **fields: Any) -> int:
    parsed = read(request(rows, methods=[method(name)], **fields))
    return costs.of_explanation(parsed).nbytes


def test_the_bytes_of_a_request_include_what_its_method_holds() -> None:
    values = 8 * 3 * 4
    # Twenty copies, and the gradient of each.
    assert held("smooth_grad") - held("saliency") > 2 * 20 * values


def test_every_target_has_a_flow_that_holds_memory() -> None:
    one = held("smooth_grad", targets=[label("yes")])
    assert held("smooth_grad", targets=[every()]) > 1.9 * one


def of_ids(name: str, **fields: Any) -> question.ParsedRequest:
    asked = asking.explain(np.ones((2, 5), np.int64), methods=[method(name)], **fields)
    return asking.read(asked, tokens())


EMBEDDED = 2 * 5 * 6 * 4
"""The bytes of the embeddings of these ids."""


def test_values_at_a_layer_count_with_their_own_size() -> None:
    at_layer = of_ids("activation", site=explain_spec_pb2.Site(layer="embedding"))
    assert at_layer.planned_bytes >= EMBEDDED


def test_integers_are_explained_at_their_embeddings_which_are_larger() -> None:
    # Twenty copies, and the gradient of each.
    assert of_ids("smooth_grad").planned_bytes >= 2 * 20 * EMBEDDED


def test_a_prediction_counts_its_outputs() -> None:
    model = served()[0]
    inputs = read(request()).inputs
    assert costs.of_prediction(inputs, model).nbytes == 2 * 2 * 3 * 4 + 2 * 2 * 4
