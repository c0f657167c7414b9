"""What could be misunderstood in a request or an answer, and is not."""

from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_pb2,
    explanation_service_pb2 as pb,
    model_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    array,
    attributions,
    cells,
    details,
    digits,
    explain,
    explanations,
    index,
    method,
    neuron,
    predict,
    reason,
    streaming,
    tensor,
)

pytestmark = pytest.mark.alone

UNKNOWN = b"\x98\x06\x01"
"""Field 99, a number, of a message that has none of that number."""


def question() -> pb.ExplainRequest:
    return explain(
        cells(),
        method("smooth_grad", of={"name": "saliency"}),
        targets=[index(0), index(1)],
        baselines=[spec_pb2.Baseline(constant=1)],
        site=spec_pb2.Site(layer="hidden"),
        through=neuron("hidden", 1),
        budget=spec_pb2.Budget(max_rows=100),
        output=spec_pb2.OutputOptions(max_features=2),
    )


PLACES = (
    "",
    "model",
    "inputs[0]",
    "spec",
    "spec.methods[0]",
    "spec.targets[1]",
    "spec.targets[1].index",
    "spec.baselines[0]",
    "spec.site",
    "spec.through",
    "spec.budget",
    "spec.output",
)


def message_at(request: Message, path: str) -> Any:
    found: Any = request
    for part in filter(None, path.split(".")):
        name, _, place = part.partition("[")
        found = getattr(found, name)
        if place:
            found = found[int(place.removesuffix("]"))]
    return found


@pytest.mark.parametrize("path", PLACES)
def test_an_unknown_field_of_a_question_is_refused_by_its_place(
    path: str, stub: ExplanationServiceStub
) -> None:
    request = question()
    message_at(request, path).MergeFromString(UNKNOWN)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request)
    assert reason(caught.value) == "FIELD_UNKNOWN"
    (violation,) = details(caught.value)["BadRequest"].field_violations
    assert violation.field == path
    assert "99" in violation.description


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("Predict", predict(cells())),
        ("ListModels", pb.ListModelsRequest()),
        ("GetModel", pb.GetModelRequest(model=model_pb2.ModelRef(name="cells"))),
        ("ListMethods", pb.ListMethodsRequest()),
        ("GetServer", pb.GetServerRequest()),
        ("ExplainStream", streaming(explain(cells()))),
    ],
)
def test_unknown_fields_are_refused_by_every_call(
    rpc: str, request_: Message, stub: ExplanationServiceStub
) -> None:
    changed = type(request_)()
    changed.CopyFrom(request_)
    changed.MergeFromString(UNKNOWN)
    call = getattr(stub, rpc)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(changed)) if rpc == "ExplainStream" else call(changed)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "FIELD_UNKNOWN"
    assert "99" in details(caught.value)["BadRequest"].field_violations[0].description


def test_an_unknown_field_is_refused_though_the_answer_is_known(
    stub: ExplanationServiceStub,
) -> None:
    request = explain(cells(), method("saliency"))
    stub.Explain(request)
    assert stub.Explain(request).cache == explanation_pb2.CACHE_STATUS_HIT
    request.spec.MergeFromString(UNKNOWN)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request)
    assert reason(caught.value) == "FIELD_UNKNOWN"


def test_classes_of_all_examples_are_told_from_a_class_of_each(
    stub: ExplanationServiceStub,
) -> None:
    def asked(*targets: spec_pb2.Target) -> list[tuple[int, int, list[int]]]:
        request = explain(digits(2), method("saliency"), model="digits", targets=targets)
        found = explanations(stub.Explain(request))
        return [(each.example, each.target, list(each.index)) for each in found]

    assert asked(index(3), index(5)) == [(0, 0, [3]), (0, 1, [5]), (1, 0, [3]), (1, 1, [5])]
    assert asked(index(3, 5)) == [(0, 0, [3]), (1, 0, [5])]


def test_ranks_and_classes_are_spread_out_in_the_order_of_the_targets(
    stub: ExplanationServiceStub,
) -> None:
    targets = [spec_pb2.Target(top_k=2), index(7), spec_pb2.Target(all=spec_pb2.AllOutputs())]
    x = digits(2)
    reply = stub.Explain(explain(x, method("saliency"), model="digits", targets=targets))
    best = array(stub.Predict(predict(x, "digits")).outputs[0]).argsort(1)[:, ::-1]
    for example in range(2):
        mine = [each for each in explanations(reply) if each.example == example]
        assert [each.target for each in mine] == list(range(13))
        assert [each.index[0] for each in mine] == [*best[example, :2], 7, *range(10)]


def test_two_specs_of_one_method_have_a_result_each(stub: ExplanationServiceStub) -> None:
    steps = (4, 60)
    methods = [method("integrated_gradients", n_steps=each) for each in steps]
    both = stub.Explain(explain(cells(2), *methods))
    assert [each.method.params["n_steps"].number_value for each in both.results] == [4, 60]
    assert [len(each.explanations) for each in both.results] == [2, 2]
    for result, spec in zip(both.results, methods, strict=True):
        alone = stub.Explain(explain(cells(2), spec))
        for one, other in zip(result.explanations, explanations(alone), strict=True):
            np.testing.assert_allclose(
                array(one.attributions[0].values),
                array(other.attributions[0].values),
                rtol=1e-3,
                atol=1e-5,
            )


def test_a_method_that_does_not_fit_the_budget_fails_alone(stub: ExplanationServiceStub) -> None:
    request = explain(
        cells(),
        method("saliency"),
        method("feature_ablation"),
        budget=spec_pb2.Budget(max_rows=20),
    )
    saliency, ablation = stub.Explain(request).results
    assert len(saliency.explanations) == 1
    assert not saliency.HasField("failure")
    assert saliency.stop_reason == explanation_pb2.STOP_REASON_COMPLETED
    assert not ablation.explanations
    assert ablation.stop_reason == explanation_pb2.STOP_REASON_FAILED
    assert (ablation.failure.code, ablation.failure.reason) == (3, "BUDGET_TOO_SMALL")
    assert ablation.failure.field
    assert "at least" in ablation.failure.message
    # What it would take is said with the method in all its parameters.
    assert ablation.method.name == "feature_ablation"
    *_, last = stub.ExplainStream(streaming(request))
    assert [each.failure.reason for each in last.result.results] == ["", "BUDGET_TOO_SMALL"]


def test_an_answer_with_a_failure_is_not_kept(stub: ExplanationServiceStub) -> None:
    methods = (method("saliency"), method("integrated_gradients", n_steps=5001))
    request = explain(cells(), *methods, budget=spec_pb2.Budget(max_rows=1000))
    for _ in range(2):
        reply = stub.Explain(request)
        assert reply.cache == explanation_pb2.CACHE_STATUS_MISS
        assert [each.failure.reason for each in reply.results] == ["", "BUDGET_TOO_SMALL"]


def test_a_call_of_which_every_method_fails_has_the_status_of_the_first(
    stub: ExplanationServiceStub,
) -> None:
    request = explain(
        cells(),
        method("feature_ablation"),
        method("occlusion", sliding_window_shapes=[1]),
        budget=spec_pb2.Budget(max_rows=20),
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "BUDGET_TOO_SMALL"
    (violation,) = details(caught.value)["BadRequest"].field_violations
    assert violation.field == "spec.budget.max_rows"


def test_a_request_that_is_wrong_for_one_method_is_refused(stub: ExplanationServiceStub) -> None:
    """The question is wrong, not the method: nothing of it is answered."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(explain(cells(), method("saliency"), method("shapley_values")))
    assert reason(caught.value) == "FIELD_INVALID"
    (violation,) = details(caught.value)["BadRequest"].field_violations
    assert violation.field == "spec.feature_masks"


def test_a_method_without_an_estimate_at_the_deadline_fails_alone(
    stub: ExplanationServiceStub,
) -> None:
    request = explain(
        digits(60, 77),
        method("gradient_shap", n_samples=600),
        method("integrated_gradients", n_steps=1000),
        model="digits",
        target=index(1),
        on_deadline=pb.ON_DEADLINE_PARTIAL,
    )
    sampled, whole = stub.Explain(request, timeout=1.3).results
    assert sampled.stop_reason == explanation_pb2.STOP_REASON_DEADLINE
    assert len(sampled.explanations) == 60
    assert whole.stop_reason == explanation_pb2.STOP_REASON_FAILED
    assert (whole.failure.code, whole.failure.reason) == (4, "DEADLINE_PASSED")
    assert whole.failure.field == "spec.methods[1]"


def test_estimates_are_no_answer_where_the_deadline_is_one(stub: ExplanationServiceStub) -> None:
    request = explain(
        digits(60, 78), method("gradient_shap", n_samples=1500), model="digits", target=index(1)
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request, timeout=1.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_wrong_method_beside_a_right_one_refuses_the_call(stub: ExplanationServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(explain(cells(), method("saliency"), method("salienzy")))
    assert reason(caught.value) == "METHOD_UNKNOWN"
    (violation,) = details(caught.value)["BadRequest"].field_violations
    assert violation.field == "spec.methods[1].name"


def test_steps_that_were_taken_are_told_from_a_tolerance_that_was_met(
    stub: ExplanationServiceStub,
) -> None:
    def reasons(name: str, **budget: Any) -> set[str]:
        request = explain(cells(2), method(name), budget=spec_pb2.Budget(**budget))
        (result,) = stub.Explain(request).results
        every = {result.stop_reason, *(each.stop_reason for each in result.explanations)}
        return {
            explanation_pb2.StopReason.Name(each).removeprefix("STOP_REASON_") for each in every
        }

    assert reasons("integrated_gradients") == {"COMPLETED"}
    assert reasons("saliency") == {"COMPLETED"}
    assert reasons("integrated_gradients", tolerance=0.05) == {"CONVERGED"}
    assert "BUDGET" in reasons("shapley_value_sampling", tolerance=1e-6, max_rows=2000)


def test_errors_of_both_kinds_stand_side_by_side(stub: ExplanationServiceStub) -> None:
    request = explain(cells(), method("shapley_value_sampling", n_samples=20), target=index(1))
    (one,) = explanations(stub.Explain(request))
    assert one.error.HasField("completeness")
    assert one.error.HasField("standard_error")
    assert not one.error.HasField("relative")
    budget = spec_pb2.Budget(tolerance=0.2)
    request = explain(cells(), method("shapley_value_sampling"), target=index(1), budget=budget)
    (one,) = explanations(stub.Explain(request))
    assert one.error.HasField("completeness")
    assert one.error.HasField("standard_error")
    assert 0 < one.error.relative <= 0.2


def test_the_first_example_the_first_class_and_a_score_of_zero_are_said(
    stub: ExplanationServiceStub,
) -> None:
    reply = stub.Explain(explain(cells(), method("integrated_gradients"), target=index(0)))
    (one,) = explanations(reply)
    assert one.HasField("example")
    assert one.HasField("target")
    assert list(one.index) == [0]
    assert reply.HasField("seed")
    (prediction,) = stub.Predict(predict(cells())).predictions
    assert prediction.HasField("example")
    assert all(each.HasField("index") and each.HasField("score") for each in prediction.labels)


def test_an_answer_names_its_columns_once(stub: ExplanationServiceStub) -> None:
    request = explain(cells(3), method("saliency"), method("input_x_gradient"))
    (features,) = stub.Explain(request).features
    assert features.input == "measurements"
    assert not features.HasField("example")
    assert (len(features.names), features.names[0]) == (30, "mean radius")
    request.spec.output.return_features = False
    assert not stub.Explain(request).features


@pytest.mark.parametrize("rows", [2, 4])
def test_baselines_of_another_number_than_examples_are_refused(
    rows: int, stub: ExplanationServiceStub
) -> None:
    baseline = spec_pb2.Baseline(tensor=tensor(cells(rows)))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(explain(cells(3), method("gradient_shap"), baselines=[baseline]))
    assert reason(caught.value) == "FIELD_INVALID"
    assert "distribution" in str(caught.value.details())


def test_a_site_a_neuron_and_a_way_are_three_things(stub: ExplanationServiceStub) -> None:
    at = spec_pb2.Site(layer="hidden")
    of = spec_pb2.Target(neuron=neuron("classify", 1))
    layer_to_neuron = explain(cells(), method("input_x_gradient"), site=at, target=of)
    assert attributions(stub.Explain(layer_to_neuron)).shape == (1, 128)
    output_through = explain(
        cells(), method("neuron_conductance"), through=neuron("hidden", 3), target=index(1)
    )
    assert attributions(stub.Explain(output_through)).shape == (1, 30)


def test_progress_names_features_once_and_says_how_long_it_takes(
    stub: ExplanationServiceStub,
) -> None:
    budget = spec_pb2.Budget(tolerance=1e-6, max_rows=100_000)
    sampled = method("shapley_value_sampling")
    request = explain(cells(40, 91), sampled, target=index(1), budget=budget)
    first, *middle, last = stub.ExplainStream(streaming(request))
    assert first.accepted.expected_rows > 0
    events = [each.progress for each in middle]
    explained = [each for each in events if each.results[0].explanations]
    assert explained
    assert [len(each.features) for each in explained] == [1] + [0] * (len(explained) - 1)
    assert not any(each.stop_reason for each in explained[0].results[0].explanations)
    assert any(each.HasField("remaining_seconds") for each in events)
    assert last.result.results[0].stop_reason == explanation_pb2.STOP_REASON_BUDGET
    assert last.result.features
