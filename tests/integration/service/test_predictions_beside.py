"""Predictions that come with explanations."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    BYPASS,
    array,
    digits,
    explain,
    explanations,
    index,
    method,
    predict,
    reason,
    streaming,
)
from tests.integration.service.test_sharing import metric

pytestmark = pytest.mark.alone


def options(**fields: Any) -> spec_pb2.OutputOptions:
    return spec_pb2.OutputOptions(**fields)


def used(reply: pb.ExplainResponse) -> list[int]:
    return [each.rows_used for each in reply.results]


def assert_same(
    one: Sequence[explanation_pb2.Prediction], other: Sequence[explanation_pb2.Prediction]
) -> None:
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert [each.label for each in mine.labels] == [each.label for each in theirs.labels]
        for name in ("score", "probability"):
            np.testing.assert_allclose(
                [getattr(each, name) for each in mine.labels],
                [getattr(each, name) for each in theirs.labels],
                rtol=1e-4,
            )


@pytest.mark.parametrize(
    ("seed", "fields"),
    [
        (1, {"methods": ["saliency"]}),
        (2, {"methods": ["saliency"], "cache": BYPASS}),
        (3, {"methods": ["saliency", "feature_ablation"], "target": index(0)}),
        (4, {"methods": ["saliency", "feature_ablation"], "target": index(0), "cache": BYPASS}),
        (
            5,
            {
                "methods": ["saliency"],
                "target": index(0),
                "output": options(return_predictions=True),
            },
        ),
        (6, {"methods": ["saliency", "feature_ablation"], "deterministic": True}),
    ],
    ids=["argmax", "argmax, alone", "methods", "methods, alone", "asked for", "deterministic"],
)
def test_the_prediction_comes_with_the_explanation(
    stub: ExplanationServiceStub, seed: int, fields: dict[str, Any]
) -> None:
    values, methods = digits(3, seed), [method(name) for name in fields.pop("methods")]
    reply = stub.Explain(explain(values, *methods, model="digits", **fields))
    assert [len(each.labels) for each in reply.predictions] == [5, 5, 5]
    assert_same(reply.predictions, stub.Predict(predict(values, "digits")).predictions)
    assert not reply.outputs


@pytest.mark.parametrize(
    ("seed", "fields"),
    [
        (11, {"methods": ["saliency"], "target": index(0)}),
        (12, {"methods": ["saliency"], "output": options(return_predictions=False)}),
        (13, {"methods": ["saliency", "lrp"], "output": options(return_predictions=False)}),
    ],
    ids=["not known", "unwanted", "unwanted from several methods"],
)
def test_a_prediction_comes_only_where_it_is_known_or_wanted(
    stub: ExplanationServiceStub, seed: int, fields: dict[str, Any]
) -> None:
    methods = [method(name) for name in fields.pop("methods")]
    reply = stub.Explain(explain(digits(1, seed), *methods, model="digits", **fields))
    assert not reply.predictions
    assert not reply.outputs


def test_as_many_labels_come_as_are_asked_for_and_the_outputs_where_they_are(
    stub: ExplanationServiceStub,
) -> None:
    values = digits(2, 21)
    asked = explain(
        values,
        method("saliency"),
        model="digits",
        output=options(max_labels=3, return_outputs=True),
    )
    *_, last = stub.ExplainStream(streaming(asked))
    said = stub.Predict(predict(values, "digits", max_labels=3))
    for reply in (last.result, stub.Explain(asked)):
        assert_same(reply.predictions, said.predictions)
        (outputs,) = reply.outputs
        assert outputs.name == said.outputs[0].name
        np.testing.assert_allclose(array(outputs), array(said.outputs[0]), rtol=1e-4, atol=1e-5)
    assert reply.cache == explanation_pb2.CACHE_STATUS_HIT


def test_methods_of_one_request_say_what_each_took(
    server: Server, stub: ExplanationServiceStub
) -> None:
    values = digits(1, 61)
    methods = [
        method("shapley_value_sampling", n_samples=2),
        method("integrated_gradients", n_steps=5),
        method("rise", n_samples=4),
    ]
    apart = [
        stub.Explain(explain(values, each, model="digits", target=index(1), cache=BYPASS))
        for each in methods
    ]
    rows = metric(server, "adcaptum_rows_total", model="digits")
    both = stub.Explain(explain(values, *methods, model="digits", target=index(1), cache=BYPASS))
    assert used(both) == [used(each)[0] for each in apart]
    assert metric(server, "adcaptum_rows_total", model="digits") - rows == 1 + sum(used(both))
    for one, other in zip(explanations(both), apart, strict=True):
        np.testing.assert_allclose(
            array(one.attributions[0].values),
            array(explanations(other)[0].attributions[0].values),
            rtol=1e-3,
            atol=1e-5,
        )


def answered_in_time(stub: ExplanationServiceStub, asked: pb.ExplainRequest) -> pb.ExplainResponse:
    """The answer within the first of several times in which a busy machine has all estimates."""
    late = {"DEADLINE_PASSED", "DEADLINE_TOO_SHORT"}
    for seconds in (1.0, 2.0, 4.0):
        try:
            reply = stub.Explain(asked, timeout=seconds)
        except grpc.RpcError as error:
            if reason(error) not in late:
                raise
        else:
            # A method without an estimate fails alone where another one has its own.
            if not any(each.failure.reason in late for each in reply.results):
                return reply
    return stub.Explain(asked, timeout=8.0)


def test_an_answer_that_the_deadline_cuts_short_says_what_the_model_says(
    stub: ExplanationServiceStub,
) -> None:
    values = digits(60, 71)
    asked = explain(
        values,
        method("integrated_gradients"),
        method("integrated_gradients", multiply_by_inputs=False),
        model="digits",
        target=index(1),
        budget=spec_pb2.Budget(tolerance=1e-7, max_rows=100_000),
    )
    reply = answered_in_time(stub, asked)
    assert {each.stop_reason for each in reply.results} == {explanation_pb2.STOP_REASON_DEADLINE}
    assert len(explanations(reply)) == 2 * 60
    assert_same(reply.predictions, stub.Predict(predict(values, "digits")).predictions)
