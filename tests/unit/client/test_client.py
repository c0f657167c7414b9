"""The client that blocks, over gRPC's own fake channel."""

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc_testing
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped] # without a marker

from adcaptum.client import (
    Accepted,
    CacheStatus,
    Client,
    Conflict,
    ErrorEstimate,
    Failure,
    InputKind,
    Internal,
    InvalidRequest,
    Method,
    ModelState,
    OutputKind,
    ParameterType,
    Placement,
    Progress,
    Result,
    SiteUse,
    Spec,
    StopReason,
    Unavailable,
    WorkerState,
)
from adcaptum.client.codec.events import EventDecoder
from adcaptum.client.codec.replies import decode_explanations, decode_prediction
from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.client.drawing.summary import answer_facts, facts, failures
from adcaptum.v1 import explanation_pb2, explanation_service_pb2, model_pb2
from tests.unit.client import canned
from tests.unit.client.canned_server import CannedServicer

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
    pending = wire.start(lambda client: client.predict("cells", ROW, max_labels=2, alias="stable"))
    request = wire.answer("Predict", canned.prediction())
    assert (request.model.name, request.model.alias, request.max_labels) == ("cells", "stable", 2)
    result = pending.result()
    assert result.labels == ("malignant",)
    assert result.predictions[0][1].probability == 0.05
    np.testing.assert_array_equal(result.outputs["logits"], [[2, -1]])
    assert (result.timings.batches, result.request_id) == (2, "id-1")


def test_the_number_of_labels_is_left_to_the_server(wire: Wire) -> None:
    pending = wire.start(lambda client: client.predict("cells", ROW))
    assert not wire.answer("Predict", canned.prediction()).HasField("max_labels")
    pending.result()


def test_an_explanation_is_asked_and_read(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW, targets=0, seed=7))
    request = wire.answer("Explain", canned.explained())
    assert (list(request.spec.targets[0].index.values), request.spec.seed) == ([0], 7)
    (explanation,) = pending.result()
    assert explanation.method == Method("integrated_gradients", n_steps=50)
    assert (explanation.example, explanation.target, explanation.index) == (0, 0, (0,))
    assert (explanation.output, explanation.baseline_output) == (2, -1)
    assert explanation.error == ErrorEstimate(completeness=0.003)
    assert explanation.stop_reason is StopReason.COMPLETED
    assert explanation.report is not None
    assert explanation.report.rows_used == 51
    attribution = explanation.attributions["measurements"]
    np.testing.assert_array_equal(attribution.values, [0.5, -2, 0.1])
    assert attribution.standard_errors is not None
    np.testing.assert_array_equal(attribution.standard_errors, [0.01, 0.02, 0.03])


def test_a_preset_is_asked_by_its_name(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW, preset="exact"))
    request = wire.answer("Explain", canned.explained())
    assert (request.preset, request.HasField("spec")) == ("exact", False)
    pending.result()


def test_a_reply_is_read_without_a_second_call(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW))
    wire.answer("Explain", canned.explained())
    attribution = pending.result()[0].attributions["measurements"]
    assert attribution.features == ("radius", "texture", "area")
    assert attribution.units == ("µm", "", "µm²")


def test_attributions_at_a_layer_have_no_names_of_features() -> None:
    message = canned.explained()
    message.results[0].explanations[0].attributions[0].name = "layers.2"
    assert decode_explanations(message)[0].attributions["layers.2"].features == ()


def test_tokens_are_those_of_the_example() -> None:
    message = canned.explained(canned.text(), canned.text())
    message.results[0].explanations[1].example = 1
    other = message.features.add(input="text", example=1, names=["bad"], starts=[0], ends=[3])
    first, second = decode_explanations(message)
    tokens = first.attributions["text"].tokens
    assert [token.text for token in tokens if not token.added] == ["good", "fil", "##m"]
    assert [token.text for token in second.attributions["text"].tokens] == ["bad"]
    other.ends.append(9)
    with pytest.raises(Internal, match="tokens without their places"):
        decode_explanations(message)[1]


def test_tensors_of_a_layer_with_several_are_told_apart_by_their_part() -> None:
    message = canned.explained()
    (explanation,) = message.results[0].explanations
    explanation.attributions[0].name = "rnn"
    explanation.attributions.add().CopyFrom(explanation.attributions[0])
    explanation.attributions[1].part = 1
    parts = decode_explanations(message)[0].attributions
    assert [(key, each.name, each.part) for key, each in parts.items()] == [
        ("rnn[0]", "rnn", 0),
        ("rnn[1]", "rnn", 1),
    ]


def test_an_output_without_labels_is_named_where_outputs_come(wire: Wire) -> None:
    image = canned.image()
    image.label = ""
    reply = canned.explained(image)
    reply.outputs.extend(canned.prediction().outputs)
    pending = wire.start(lambda client: client.explain("digits", np.zeros((1, 1, 2, 2), "f4")))
    wire.answer("Explain", reply)
    assert pending.result()[0].output_name == "logits[0]"


def test_numbers_are_sent_in_the_datatype_that_the_model_declares(wire: Wire) -> None:
    rows, mean = [[1.0, 2.0, 3.0]], np.zeros((1, 3))
    pending = wire.start(lambda client: client.explain("cells", rows, baselines=mean))
    described = wire.describe()
    assert described.model.WhichOneof("selector") is None
    assert described.view == explanation_service_pb2.MODEL_VIEW_BASIC
    request = wire.answer("Explain", canned.explained(canned.text()))
    assert request.inputs[0].datatype == "FP32"
    assert request.spec.baselines[0].tensor.datatype == "FP32"
    pending.result()


def test_a_model_is_described_only_once(wire: Wire) -> None:
    rows = [[1.0, 2.0, 3.0]]
    first = wire.start(lambda client: client.explain("cells", rows))
    wire.describe()
    wire.answer("Explain", canned.explained())
    first.result()
    second = wire.start(lambda client: client.explain("cells", rows))
    assert wire.answer("Explain", canned.explained()).inputs[0].datatype == "FP32"
    second.result()


def test_a_request_does_without_that_its_model_is_described(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", [[1.0, 2.0, 3.0]]))
    wire.fail("GetModel", grpc.StatusCode.NOT_FOUND)
    assert wire.answer("Explain", canned.explained()).inputs[0].datatype == "FP64"
    pending.result()


@pytest.mark.parametrize("ask", [Client.predict, Client.explain], ids=["predict", "explain"])
def test_the_path_of_an_image_is_read_for_a_model_of_images(
    client: Client, servicer: CannedServicer, tmp_path: Path, ask: Callable[..., object]
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"\x89PNG")
    declared = servicer.described.versions[0].inputs[0]
    declared.kind = model_pb2.INPUT_KIND_IMAGE
    ask(client, "photos", str(path))
    request = servicer.asked[-1][1]
    assert isinstance(
        request, explanation_service_pb2.PredictRequest | explanation_service_pb2.ExplainRequest
    )
    assert request.inputs[0].data.endswith(b"\x89PNG")
    assert servicer.rpcs[0] == "GetModel"


def test_a_model_that_has_not_been_read_is_described_again(
    client: Client, servicer: CannedServicer
) -> None:
    read = canned.model()
    del servicer.described.versions[:]
    client.explain("cells", [[1.0, 2.0, 3.0]])
    servicer.described = read
    client.explain("cells", [[1.0, 2.0, 3.0]])
    assert servicer.rpcs == ["GetModel", "Explain"] * 2


def test_two_specs_of_one_method_are_told_apart_by_their_place() -> None:
    message = canned.explained(canned.text(), canned.text())
    fine = message.results.add()
    fine.CopyFrom(message.results[0])
    fine.method.params["n_steps"].number_value = 500
    fine.rows_used = 501
    answer = decode_explanations(message)
    assert [result.method.params["n_steps"] for result in answer.results] == [50, 500]
    assert [result.rows_used for result in answer.results] == [51, 501]
    assert len(answer) == 4
    used = [each.report.rows_used for each in answer if each.report is not None]
    assert used == [51, 51, 501, 501]


def test_a_method_that_fails_stands_beside_the_others() -> None:
    message = canned.explained()
    message.results.add().CopyFrom(canned.failed())
    answer = decode_explanations(message)
    good, bad = answer.results
    assert good.failure is None
    assert (len(bad.explanations), bad.stop_reason) == (0, StopReason.FAILED)
    assert (good.uncovered_ops, good.non_finite) == ((), 0)
    assert bad.failure == Failure(
        "FAILED_PRECONDITION",
        "METHOD_UNSUPPORTED",
        "The model uses a module twice.",
        "spec.methods[1]",
    )
    assert [each.method.name for each in answer] == ["integrated_gradients"]
    told = "deep_lift failed: The model uses a module twice."
    assert failures(answer) == [told]
    assert told in answer._repr_html_()
    words = "integrated_gradients (1), deep_lift (failed, METHOD_UNSUPPORTED)"
    assert repr(answer) == f"<1 explanation of {answer.model.name}: {words}>"


def test_each_explanation_brings_its_own_example(wire: Wire) -> None:
    response = canned.explained(canned.text(), canned.text())
    response.results[0].explanations[1].example = 1
    response.inputs.add(name="text", datatype="INT8", shape=[2, 2], data=b"\1\2\3\4")
    pending = wire.start(lambda client: client.explain("reviews", ["a", "b"], return_inputs=True))
    assert wire.answer("Explain", response).spec.output.return_inputs
    assert [each.inputs["text"].tolist() for each in pending.result()] == [[1, 2], [3, 4]]


def test_an_explanation_brings_what_the_model_says(wire: Wire) -> None:
    response, said = canned.explained(canned.text()), canned.prediction()
    response.predictions.extend(said.predictions)
    response.outputs.extend(said.outputs)
    pending = wire.start(lambda client: client.explain("reviews", ["a"], return_outputs=True))
    assert wire.answer("Explain", response).spec.output.return_outputs
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
    assert (tuple(result.predictions), result.labels, result.outputs) == ((), (), {})


def test_kept_tokens_are_told_from_all_tokens(wire: Wire) -> None:
    explanation = canned.text()
    attribution = explanation.attributions[0]
    attribution.values.CopyFrom(encode_tensor(np.array([1.5]), "text"))
    attribution.indices.append(1)
    attribution.shape.append(4)
    pending = wire.start(lambda client: client.explain("reviews", ["a"], max_features=1))
    wire.answer("Explain", canned.explained(explanation))
    kept = pending.result()[0].attributions["text"]
    assert [token.text for token in kept.tokens] == ["good"]
    assert kept.indices is not None
    assert (kept.indices.tolist(), kept.shape) == ([1], (4,))


def test_a_stream_brings_typed_events(wire: Wire) -> None:
    pending = wire.start(lambda client: list(client.explain_stream("cells", ROW)))
    rpc = wire.stream()
    for event in canned.events():
        rpc.send_response(event)
    rpc.terminate((), grpc.StatusCode.OK, "")
    accepted, first, second, result = pending.result()
    assert accepted == Accepted("id-3", 51, 0.5, 9, 0)
    assert isinstance(first, Progress)
    assert (first.rows_done, first.expected_rows, first.remaining_seconds) == (20, 51, 0.25)
    assert isinstance(second, Progress)
    assert second.remaining_seconds is None
    for progress in (first, second):
        (explanation,) = progress.explanations
        assert explanation.attributions["measurements"].features[0] == "radius"
    assert isinstance(result, Result)
    assert result.explanations.seed == 7


def test_a_stream_that_is_accepted_again_begins_anew() -> None:
    accepted, named, unnamed, _ = canned.events()
    decoder = EventDecoder()
    for event in (accepted, named, accepted):
        assert decoder.decode(event) is not None
    progress = decoder.decode(unnamed)
    assert isinstance(progress, Progress)
    assert progress.explanations[0].attributions["measurements"].features == ()


def test_events_of_a_kind_that_is_not_known_yet_are_passed_over(wire: Wire) -> None:
    pending = wire.start(lambda client: list(client.explain_stream("cells", ROW)))
    rpc = wire.stream()
    rpc.send_response(explanation_service_pb2.ExplainStreamResponse())
    rpc.terminate((), grpc.StatusCode.OK, "")
    assert pending.result() == []


def test_words_of_a_later_release_are_unknown() -> None:
    message = canned.explained()
    message.cache = 99  # type: ignore[assignment] # that is the point
    message.results[0].stop_reason = 99  # type: ignore[assignment] # likewise
    answer = decode_explanations(message)
    assert answer.cache is CacheStatus.UNKNOWN
    assert answer.results[0].stop_reason is StopReason.UNKNOWN


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
    assert (model.name, model.default.state, model.aliases) == ("cells", "ready", {"stable": "1"})
    assert model.default.accuracy == pytest.approx(0.958)


def test_lists_are_read_page_by_page(client: Client, servicer: CannedServicer) -> None:
    servicer.page_size = 1
    assert [each.name for each in client.methods("cells")] == [
        each.name for each in canned.methods()
    ]
    assert servicer.rpcs == ["ListMethods"] * 3
    for _, request in servicer.asked:
        assert isinstance(request, explanation_service_pb2.ListMethodsRequest)
        assert request.model.name == "cells"


def test_a_server_that_repeats_a_page_is_not_asked_for_ever(wire: Wire) -> None:
    pending = wire.start(lambda client: client.models())
    for _ in range(2):
        wire.answer("ListModels", explanation_service_pb2.ListModelsResponse(next_page_token="1"))
    with pytest.raises(Internal, match="same page"):
        pending.result()


def test_a_model_is_described(wire: Wire) -> None:
    pending = wire.start(lambda client: client.model("cells", version="1"))
    assert wire.describe().model.version == "1"
    version = pending.result().default
    assert version.layers[0].alias == "hidden"
    assert version.placements == (
        Placement("0", "cpu", ModelState.READY, "", "folded, channels last"),
    )
    assert (version.inputs[0].kind, version.outputs[0].kind) == (
        InputKind.TABULAR,
        OutputKind.LOGITS,
    )
    radius, texture, _ = version.inputs[0].features
    assert (radius.unit, radius.minimum, radius.mean, radius.maximum) == ("µm", 0, 14.1, None)
    assert texture.minimum is None
    assert version.load_time is not None
    assert version.load_time.year == 2023
    assert (version.limits.max_rows, version.default_preset) == (1000, "default")


def test_presets_are_questions(wire: Wire) -> None:
    pending = wire.start(lambda client: client.model("cells"))
    wire.describe()
    version = pending.result().default
    assert [(each.name, each.description) for each in version.presets] == [
        ("default", "The usual."),
        ("quick", "A look."),
    ]
    spec = version.preset("quick").spec
    assert isinstance(spec, Spec)
    assert spec.methods == [Method("integrated_gradients", n_steps=50)]
    assert (spec.channel_reduction, spec.max_features, spec.seed) == ("sum", 2, None)
    assert version.preset().name == "default"
    with pytest.raises(LookupError, match="'exact'"):
        version.preset("exact")


def test_a_version_that_was_asked_for_stands_for_the_default_one(wire: Wire) -> None:
    message = canned.model()
    message.default_version = "2"
    pending = wire.start(lambda client: client.model("cells", version="1"))
    wire.answer("GetModel", explanation_service_pb2.GetModelResponse(model=message))
    assert pending.result().default.identity.version == "1"
    pending = wire.start(lambda client: client.model("cells"))
    del message.versions[:]
    wire.answer("GetModel", explanation_service_pb2.GetModelResponse(model=message))
    with pytest.raises(LookupError, match="no version"):
        pending.result().default  # noqa: B018 - a property that raises


def test_the_server_is_described(client: Client) -> None:
    server = client.server()
    assert (server.version, server.extensions) == ("0.2.0", ("records",))


def test_workers_are_replaced_all_or_those_that_are_named(client: Client) -> None:
    assert [(each.id, each.restarts) for each in client.restart_workers()] == [("0", 1), ("1", 1)]
    assert [each.id for each in client.restart_workers("1")] == ["1"]


def test_workers_are_listed_page_by_page(client: Client, servicer: CannedServicer) -> None:
    servicer.page_size = 1
    first, second = client.workers()
    assert (first.id, first.device, first.pid, first.models) == ("0", "cpu", 7, ("cells",))
    assert (first.state, second.state) == (WorkerState.READY, WorkerState.UNKNOWN)
    assert (second.restarts, second.reason) == (3, "x")


def test_an_answer_says_where_it_came_from(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW))
    answer = canned.explained()
    answer.cache = explanation_pb2.CACHE_STATUS_HIT
    wire.answer("Explain", answer)
    explanations = pending.result()
    assert explanations.cache is CacheStatus.HIT
    assert "computed before" in answer_facts(explanations)


def test_an_error_may_be_the_one_that_a_tolerance_is_compared_with(wire: Wire) -> None:
    pending = wire.start(lambda client: client.explain("cells", ROW, tolerance=0.05))
    answer = canned.explained()
    (explained,) = answer.results[0].explanations
    explained.error.CopyFrom(explanation_pb2.ErrorEstimate(relative=0.031))
    explained.stop_reason = explanation_pb2.STOP_REASON_CONVERGED
    request = wire.answer("Explain", answer)
    assert request.spec.budget.tolerance == 0.05
    (explanation,) = pending.result()
    assert explanation.error == ErrorEstimate(None, None, 0.031)
    assert explanation.stop_reason is StopReason.CONVERGED
    assert "relative error about 3.1%" in facts(explanation)


def test_all_estimates_of_an_error_are_told() -> None:
    answer = canned.explained()
    answer.results[0].explanations[0].error.standard_error = 0.02
    told = facts(decode_explanations(answer)[0])
    assert "completeness error 0.003 (0.1% of the change)" in told
    assert "largest standard error 0.02 (0.7% of the change)" in told


def test_parts_are_decoded_once_and_when_they_are_read() -> None:
    message = canned.explained(canned.table(), canned.text())
    message.results[0].explanations[1].attributions[0].values.data = b"odd"
    answer = decode_explanations(message)
    (result,) = answer.results
    assert len(result.explanations) == len(answer) == 2
    assert result.explanations[0] is result.explanations[-2]
    assert result.explanations[:1] == (result.explanations[0],)
    assert answer.predictions == ()
    text: object = ""
    assert answer.predictions != text
    assert (hash(answer.predictions), repr(answer.predictions)) == (hash(()), "()")
    with pytest.raises(Internal, match="cannot be read"):
        result.explanations[1]
    with pytest.raises(IndexError):
        result.explanations[2]


def test_answers_survive_pickling() -> None:
    answer = decode_explanations(canned.explained(canned.table(), canned.text()))
    copy = pickle.loads(pickle.dumps(answer))
    assert [each.method for each in copy] == [each.method for each in answer]
    values = copy[0].attributions["measurements"].values
    np.testing.assert_array_equal(values, answer[0].attributions["measurements"].values)
    assert copy.message == answer.message


def test_methods_are_listed(wire: Wire) -> None:
    pending = wire.start(lambda client: client.methods("cells"))
    request = wire.answer(
        "ListMethods", explanation_service_pb2.ListMethodsResponse(methods=canned.methods())
    )
    assert request.model.name == "cells"
    gradients, cam, shapley = pending.result()
    (steps,) = gradients.parameters
    assert (steps.type, steps.default, steps.maximum) == (ParameterType.INTEGER, 50, None)
    assert (gradients.site_use, gradients.accepts_distribution) == (SiteUse.LAYER_OPTIONAL, False)
    assert cam.site_use is SiteUse.LAYER_REQUIRED
    assert (shapley.site_use, shapley.accepts_distribution) == (SiteUse.NO_LAYER, True)
    assert (shapley.available, shapley.reason) == (False, "30 features")


def test_methods_without_a_model_are_neither_available_nor_not(wire: Wire) -> None:
    method = canned.methods()[0]
    method.ClearField("availability")
    pending = wire.start(lambda client: client.methods())
    request = wire.answer(
        "ListMethods", explanation_service_pb2.ListMethodsResponse(methods=[method])
    )
    assert not request.HasField("model")
    assert pending.result()[0].available is None


def test_an_answer_is_decoded_part_by_part_and_stays_a_value() -> None:
    answer = decode_explanations(canned.explained())
    assert "model" not in vars(answer)
    assert answer.model.name == "cells"
    assert answer.model is vars(answer)["model"]
    other = dataclasses.replace(answer, seed=9)
    assert (other.seed, other.model, other.request_id) == (9, answer.model, "id-2")
    again = pickle.loads(pickle.dumps(answer))
    assert (again.seed, again.cache, again.warnings) == (7, CacheStatus.MISS, ())
    assert again.results[0].report.method == answer.results[0].report.method
    assert set(dataclasses.asdict(other)) == {each.name for each in dataclasses.fields(answer)}
    with pytest.raises(AttributeError, match="no 'sed'"):
        answer.sed  # type: ignore[attr-defined] # noqa: B018 - there is none


def test_models_are_loaded_unloaded_and_aliased(client: Client, servicer: CannedServicer) -> None:
    loaded = client.load_model("cells", version="1", idempotency_key="k")
    assert (loaded.identity.version, loaded.load_failure) == ("1", "")
    assert client.unload_model("cells", alias="stable").state == "ready"
    assert client.set_alias("cells", "canary", of="stable", expected_version="").name == "cells"
    assert dict(client.delete_alias("cells", "canary").aliases) == {"stable": "1"}
    assert servicer.rpcs == ["LoadModel", "UnloadModel", "SetAlias", "DeleteAlias"]
    with pytest.raises(InvalidRequest, match="not both"):
        client.load_model("cells", version="1", alias="stable")


def test_what_contradicts_another_call_is_a_conflict(
    client: Client, servicer: CannedServicer
) -> None:
    for code in (code_pb2.ABORTED, code_pb2.ALREADY_EXISTS):
        servicer.failures.append(status_pb2.Status(code=code, message="no"))
        with pytest.raises(Conflict):
            client.set_alias("cells", "canary", version="1")
