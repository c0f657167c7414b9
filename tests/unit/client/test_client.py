"""The client that blocks, over gRPC's own fake channel."""

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeVar

import grpc
import grpc_testing
import numpy as np
import pytest
from google.protobuf.message import Message

from adcaptum.client import (
    Accepted,
    CacheStatus,
    Client,
    ErrorKind,
    Final,
    Method,
    Partial,
    StopReason,
    Unavailable,
)
from adcaptum.client.codec.replies import decode_prediction
from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.client.drawing.summary import answer_facts, facts
from adcaptum.v1 import explanation_pb2, explanation_service_pb2
from tests.unit.client import canned

_Result = TypeVar("_Result")
SERVICE = explanation_service_pb2.DESCRIPTOR.services_by_name["ExplanationService"]
ROW = np.array([[1, 2, 3]], np.float32)


class Wire:
    """A fake channel with a client at one end and the test at the other."""

    def __init__(self, pool: futures.Executor) -> None:
        self._pool = pool
        self._channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.client = Client(channel=self._channel)

    def start(self, call: Callable[[Client], _Result]) -> futures.Future[_Result]:
        return self._pool.submit(call, self.client)

    def answer(self, name: str, response: Message) -> Any:
        """Take the next call of this name, answer it, and return its request."""
        _, request, rpc = self._channel.take_unary_unary(SERVICE.methods_by_name[name])
        rpc.send_initial_metadata(())
        rpc.terminate(response, (), grpc.StatusCode.OK, "")
        return request

    def fail(self, name: str, code: grpc.StatusCode) -> None:
        _, _, rpc = self._channel.take_unary_unary(SERVICE.methods_by_name[name])
        rpc.terminate(None, (), code, "no")

    def stream(self) -> Any:
        _, _, rpc = self._channel.take_unary_stream(SERVICE.methods_by_name["ExplainStream"])
        rpc.send_initial_metadata(())
        return rpc

    def metadata(self, name: str, response: Message) -> dict[str, str]:
        metadata, _, rpc = self._channel.take_unary_unary(SERVICE.methods_by_name[name])
        rpc.terminate(response, (), grpc.StatusCode.OK, "")
        return dict(metadata)

    def describe(self) -> Any:
        response = explanation_service_pb2.GetModelResponse(model=canned.model())
        return self.answer("GetModel", response)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with futures.ThreadPoolExecutor(max_workers=1) as pool:
        yield Wire(pool)


def test_a_prediction_is_asked_and_read(wire: Wire) -> None:
    pending = wire.start(lambda client: client.predict("cells", ROW, top_k=2, alias="stable"))
    request = wire.answer("Predict", canned.prediction())
    assert (request.model.name, request.model.alias, request.top_k) == ("cells", "stable", 2)
    result = pending.result()
    assert result.labels == ("malignant",)
    assert result.predictions[0][1].probability == 0.05
    np.testing.assert_array_equal(result.outputs["logits"], [[2, -1]])
    assert (result.timings.batches, result.request_id) == (2, "id-1")


def test_an_explanation_is_asked_and_read(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW, target=0, seed=7))
    request = wire.answer("Explain", canned.explained())
    assert (list(request.target.indices.values), request.seed) == ([0], 7)
    wire.describe()
    (explanation,) = pending.result()
    assert (explanation.method, explanation.target) == ("integrated_gradients", (0,))
    assert explanation.error is not None
    assert explanation.error.kind is ErrorKind.COMPLETENESS
    assert explanation.error.relative is None
    assert explanation.report is not None
    assert explanation.report.method == Method("integrated_gradients", n_steps=50)
    assert explanation.report.stop_reason is StopReason.CONVERGED
    np.testing.assert_array_equal(explanation.attributions["measurements"].values, [0.5, -2, 0.1])


def test_the_features_of_a_table_get_the_names_that_the_model_declares(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW))
    wire.answer("Explain", canned.explained())
    request = wire.describe()
    assert (request.model.name, request.model.version) == ("cells", "1")
    features = pending.result()[0].attributions["measurements"].features
    assert [(each.name, each.unit) for each in features] == [
        ("radius", "µm"),
        ("texture", ""),
        ("area", "µm²"),
    ]


def test_a_model_is_described_only_once(wire: Wire) -> None:
    first = wire.start(lambda client: client.explain("cells", ROW))
    wire.answer("Explain", canned.explained())
    wire.describe()
    first.result()
    second = wire.start(lambda client: client.explain("cells", ROW))
    wire.answer("Explain", canned.explained())
    assert second.result()[0].attributions["measurements"].features[0].name == "radius"


def test_an_explanation_survives_that_its_model_cannot_be_described(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW))
    wire.answer("Explain", canned.explained())
    wire.fail("GetModel", grpc.StatusCode.NOT_FOUND)
    assert pending.result()[0].attributions["measurements"].features == ()


def test_texts_need_no_names_of_features(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("reviews", ["good film"]))
    wire.answer("Explain", canned.explained(canned.text()))
    tokens = pending.result()[0].attributions["text"].tokens
    assert [token.text for token in tokens if not token.added] == ["good", "fil", "##m"]


def test_an_output_without_labels_is_named_in_a_map(wire: Wire) -> None:
    image = canned.image()
    image.label = ""
    described = canned.model()
    name = described.outputs[0].name
    pending = wire.start(lambda client: client.explain("digits", np.zeros((1, 1, 2, 2), "f4")))
    wire.answer("Explain", canned.explained(image))
    wire.describe()
    assert pending.result()[0].output_name.startswith(f"{name}[")


def test_numbers_are_sent_in_the_datatype_that_the_model_declares(wire: Wire) -> None:
    rows, mean = [[1.0, 2.0, 3.0]], np.zeros((1, 3))
    pending = wire.start(lambda client: client.explain("cells", rows, baselines=mean))
    assert wire.describe().model.WhichOneof("selector") is None
    request = wire.answer("Explain", canned.explained(canned.text()))
    assert request.inputs[0].datatype == "FP32"
    assert request.baselines[0].tensor.datatype == "FP32"
    pending.result()


def test_each_method_of_a_request_has_its_own_report(wire: Wire) -> None:
    response = canned.explained(canned.text(), canned.text(), canned.text(), canned.text())
    response.reports.add(method={"name": "saliency"}, rows_used=1)
    pending = wire.start(lambda client: client.explain("reviews", ["a", "b"]))
    wire.answer("Explain", response)
    used = [each.report.rows_used for each in pending.result() if each.report is not None]
    assert used == [51, 51, 1, 1]


def test_each_explanation_brings_its_own_example(wire: Wire) -> None:
    response = canned.explained(canned.text(), canned.text())
    response.explanations[1].example = 1
    response.inputs.add(name="text", datatype="INT8", shape=[2, 2], data=b"\1\2\3\4")
    pending = wire.start(lambda client: client.explain("reviews", ["a", "b"], return_inputs=True))
    assert wire.answer("Explain", response).output.return_inputs
    assert [each.inputs["text"].tolist() for each in pending.result()] == [[1, 2], [3, 4]]


def test_an_explanation_brings_what_the_model_says(wire: Wire) -> None:
    response, said = canned.explained(canned.text()), canned.prediction()
    response.predictions.extend(said.predictions)
    response.outputs.extend(said.outputs)
    pending = wire.start(lambda client: client.explain("reviews", ["a"], return_outputs=True))
    assert wire.answer("Explain", response).output.return_outputs
    result, predicted = pending.result(), decode_prediction(said)
    assert result.predictions == predicted.predictions
    assert result.labels == predicted.labels != ()
    assert result.outputs.keys() == predicted.outputs.keys()
    for name, outputs in predicted.outputs.items():
        np.testing.assert_array_equal(result.outputs[name], outputs)


def test_an_explanation_without_predictions_has_no_labels(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("reviews", ["a"]))
    wire.answer("Explain", canned.explained(canned.text()))
    result = pending.result()
    assert (result.predictions, result.labels, result.outputs) == ((), (), {})


def test_kept_tokens_are_told_from_all_tokens(wire: Wire) -> None:
    explanation = canned.text()
    attribution = explanation.attributions[0]
    attribution.values.CopyFrom(encode_tensor(np.array([1.5]), "text"))
    attribution.indices.CopyFrom(encode_tensor(np.array([1])))
    pending = wire.start(lambda client: client.explain("reviews", ["a"], top_features=1))
    wire.answer("Explain", canned.explained(explanation))
    assert [token.text for token in pending.result()[0].attributions["text"].tokens] == ["good"]


def test_a_stream_brings_typed_events(wire: Wire) -> None:
    pending = wire.start(lambda client: list(client.explain_stream("cells", ROW)))
    rpc = wire.stream()
    accepted, partial, final = canned.events()
    rpc.send_response(accepted)
    rpc.send_response(partial)
    wire.describe()
    rpc.send_response(final)
    wire.describe()
    rpc.terminate((), grpc.StatusCode.OK, "")
    first, second, third = pending.result()
    assert first == Accepted("id-3", 51, 9)
    assert isinstance(second, Partial)
    assert second.explanations[0].attributions["measurements"].features[0].name == "radius"
    assert isinstance(third, Final)
    assert third.explanations.seed == 7


def test_events_of_a_kind_that_is_not_known_yet_are_passed_over(wire: Wire) -> None:
    pending = wire.start(lambda client: list(client.explain_stream("cells", ROW)))
    rpc = wire.stream()
    rpc.send_response(explanation_service_pb2.ExplainStreamResponse())
    rpc.terminate((), grpc.StatusCode.OK, "")
    assert pending.result() == []


def test_a_stream_that_fails_raises_the_errors_of_the_package(wire: Wire) -> None:
    pending = wire.start(lambda client: list(client.explain_stream("cells", ROW)))
    wire.stream().terminate((), grpc.StatusCode.UNAVAILABLE, "draining")
    with pytest.raises(Unavailable, match="draining"):
        pending.result()


def test_a_request_can_bring_its_id(wire: Wire) -> None:
    pending = wire.start(lambda client: client.predict("cells", ROW, request_id="mine"))
    assert wire.metadata("Predict", canned.prediction())["x-request-id"] == "mine"
    pending.result()


def test_models_are_listed(wire: Wire) -> None:
    pending = wire.start(lambda client: client.models())
    wire.answer("ListModels", explanation_service_pb2.ListModelsResponse(models=[canned.model()]))
    (model,) = pending.result()
    assert (model.identity.name, model.state, model.aliases) == ("cells", "ready", {"stable": "1"})
    assert model.checks.accuracy == pytest.approx(0.958)


def test_a_model_is_described(wire: Wire) -> None:
    pending = wire.start(lambda client: client.model("cells", version="1"))
    assert wire.describe().model.version == "1"
    model = pending.result()
    assert model.layers[0].alias == "hidden"
    assert model.layout is not None
    assert (model.layout.name, model.layout.gradient_distance) == ("folded", 3.4e-6)
    assert model.layout.rows_per_second["folded"] == 1400
    assert model.layout.failures == {"bfloat16": "gives what is not a number"}


def test_an_answer_says_where_it_came_from(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW))
    answer = canned.explained()
    answer.cache = explanation_pb2.CACHE_STATUS_HIT
    wire.answer("Explain", answer)
    wire.describe()
    explanations = pending.result()
    assert explanations.cache is CacheStatus.HIT
    assert "computed before" in answer_facts(explanations)


def test_an_error_may_be_the_one_that_a_tolerance_is_compared_with(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW, tolerance=0.05))
    answer = canned.explained()
    answer.explanations[0].error.CopyFrom(explanation_pb2.ExplanationError(relative=0.031))
    request = wire.answer("Explain", answer)
    assert request.budget.tolerance == 0.05
    wire.describe()
    (explanation,) = pending.result()
    assert explanation.error is not None
    assert explanation.error.kind is ErrorKind.NONE
    assert explanation.error.relative == 0.031
    assert "relative error about 3.1%" in facts(explanation)


def test_methods_are_listed(wire: Wire) -> None:
    pending = wire.start(lambda client: client.methods("cells"))
    request = wire.answer(
        "ListMethods", explanation_service_pb2.ListMethodsResponse(methods=canned.methods())
    )
    assert request.model.name == "cells"
    gradients, cam, shapley = pending.result()
    assert (gradients.parameters[0].default, gradients.parameters[0].maximum) == (50, None)
    assert (gradients.layers, gradients.layer_required, gradients.background) == (
        True,
        False,
        False,
    )
    assert (cam.layers, cam.layer_required) == (True, True)
    assert (shapley.layers, shapley.background) == (False, True)
    assert (shapley.available, shapley.reason) == (False, "30 features")
