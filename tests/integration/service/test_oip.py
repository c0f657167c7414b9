"""The Open Inference Protocol on the server's port: what its clients see."""

from functools import partial
from typing import Any
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from adcaptum.service.protocols.oip import model_index
from adcaptum.service.protocols.oip.servicer import MOST_STREAMS
from adcaptum.service.protocols.oip.wire.messages import SERVICE
from adcaptum.v1 import explain_spec_pb2 as spec_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service import asking
from tests.integration.service.asking import cells, digits, index, method
from tests.integration.service.conftest import Eventually
from tests.integration.service.oip_calls import (
    OipClient,
    Parameter,
    arrays,
    infer_request,
    parameters,
)

WHERE_KNOWN = (
    "target.baseline_output",
    "error.completeness",
    "error.standard_error",
    "error.relative",
)
"""Outputs that only some methods give."""


@pytest.fixture(scope="module")
def oip(channel: grpc.Channel) -> OipClient:
    return OipClient(channel)


def test_a_server_lives_serves_and_says_what_it_is(oip: OipClient) -> None:
    assert oip.call("ServerLive").live
    assert oip.call("ServerReady").ready
    about = oip.call("ServerMetadata")
    assert about.name == "adcaptum"
    assert {"statistics", "model_configuration", "model_repository"} <= {*about.extensions}


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("cells", "", True),
        ("cells", "1", True),
        ("cells", "@stable", True),
        ("cells", "9", False),
        ("cells:explain:saliency", "", True),
        ("cells:explain:exact", "1", True),
        ("cells:explain:nothing", "", False),
        ("cells:explain:", "", False),
        ("sells", "", False),
    ],
)
def test_a_model_is_ready_if_it_answers(
    oip: OipClient, name: str, version: str, *, ready: bool
) -> None:
    assert oip.call("ModelReady", name=name, version=version).ready is ready


def test_metadata_have_inputs_outputs_and_facts(oip: OipClient) -> None:
    about = oip.call("ModelMetadata", name="cells")
    assert (about.name, [*about.versions], about.platform) == ("cells", ["1"], "adcaptum")
    assert [(each.name, each.datatype, [*each.shape]) for each in about.inputs] == [
        ("measurements", "FP32", [-1, 30])
    ]
    assert [(each.name, each.datatype, [*each.shape]) for each in about.outputs] == [
        ("logits", "FP32", [-1, 2])
    ]
    assert about.properties["outputs.logits.labels"] == '["malignant", "benign"]'


def test_configurations_have_batches_apart_and_say_who_answers_often(oip: OipClient) -> None:
    plain = oip.call("ModelConfig", name="digits").config
    assert (plain.name, plain.max_batch_size) == ("digits", 256)
    assert [*plain.input[0].dims] == [1, 8, 8]
    assert not plain.model_transaction_policy.decoupled
    virtual = oip.call("ModelConfig", name="digits:explain:quick").config
    assert virtual.model_transaction_policy.decoupled
    assert [*virtual.output[0].dims] == [1, 8, 8]


@pytest.mark.parametrize("typed", [False, True])
def test_a_prediction_is_that_of_predict(
    oip: OipClient, stub: ExplanationServiceStub, *, typed: bool
) -> None:
    rows = cells(3)
    reply = oip.infer(infer_request("cells", rows, typed=typed, id="mine", model_version="1"))
    assert (reply.model_name, reply.model_version, reply.id) == ("cells", "1", "mine")
    expected = stub.Predict(asking.predict(rows))
    assert_array_equal(arrays(reply)["logits"], asking.array(expected.outputs[0]))


def test_every_listed_virtual_model_answers_as_its_metadata_say_and_as_explain_does(
    oip: OipClient, stub: ExplanationServiceStub
) -> None:
    listed = [each.name for each in oip.call("RepositoryIndex", ready=True).models]
    virtual = [name for name in listed if name.startswith("cells:explain:")]
    assert len(virtual) > 20
    rows = cells(2)
    # The same bits each time, and none from a kept answer.
    options: dict[str, Parameter] = {"deterministic": True, "cache": "bypass"}
    same: dict[str, Any] = {"deterministic": True, "cache": asking.BYPASS}
    for name in virtual:
        outputs = arrays(oip.infer(infer_request(name, rows, parameters=options)))
        about = oip.call("ModelMetadata", name=name)
        listed_outputs = [each.name for each in about.outputs]
        assert listed_outputs == [each for each in outputs if each in listed_outputs], name
        assert {*outputs} - {*listed_outputs} <= {*WHERE_KNOWN}
        assert not np.isnan(outputs["target.output"]).any()
        for each in about.outputs:
            shape = outputs[each.name].shape
            assert len(shape) == len(each.shape), (name, each)
            assert all(said in (-1, own) for said, own in zip(each.shape, shape, strict=True))
        explained_by = name.rpartition(":")[2]
        if explained_by in ("default", "quick", "exact"):
            expected = stub.Explain(asking.explain(rows, preset=explained_by, **same))
        else:
            expected = stub.Explain(asking.explain(rows, method(explained_by), **same))
        first = next(iter(outputs.values()))
        assert_array_equal(first, asking.attributions(expected), err_msg=name)
        found = asking.explanations(expected)
        assert_array_equal(outputs["target.index"], [each.index[0] for each in found])
        assert_array_equal(outputs["target.label"], [each.label for each in found])
        sums = [each.output if each.HasField("output") else np.nan for each in found]
        assert_array_equal(outputs["target.output"], sums)


def test_what_needs_options_is_not_listed(oip: OipClient) -> None:
    listed = {each.name for each in oip.call("RepositoryIndex").models}
    # It needs a layer, a neuron, and fewer features.
    for explained_by in ("grad_cam", "neuron_conductance", "shapley_interactions"):
        assert f"cells:explain:{explained_by}" not in listed


def test_options_are_those_of_a_question(oip: OipClient, stub: ExplanationServiceStub) -> None:
    images = digits(2)
    options: dict[str, Parameter] = {
        "explain": "integrated_gradients", "n_steps": 7, "method": "riemann_middle", "target": 3,
        "baseline": 0.25, "seed": 5, "datatype": "FP64", "channel_reduction": "sum",
        "deterministic": True,
    }  # fmt: skip
    reply = oip.infer(infer_request("digits", images, parameters=options))
    spec: dict[str, Any] = {
        "baselines": [spec_pb2.Baseline(constant=0.25)],
        "seed": 5,
        "deterministic": True,
        "output": spec_pb2.OutputOptions(
            datatype="FP64", channel_reduction=spec_pb2.CHANNEL_REDUCTION_SUM
        ),
    }
    asked = method("integrated_gradients", n_steps=7, method="riemann_middle")
    expected = stub.Explain(asking.explain(images, asked, model="digits", target=index(3), **spec))
    found = arrays(reply)["attributions.pixels"]
    assert found.shape == (2, 8, 8)
    assert_array_equal(found, asking.attributions(expected))
    assert parameters(reply)["seed"] == 5


def test_single_values_of_a_preset_are_replaced(oip: OipClient) -> None:
    request = infer_request("cells:explain:quick", cells(), parameters={"max_rows": 5000})
    reply = oip.infer(request)
    # Its tolerance still holds.
    assert parameters(reply)["stop_reason"] == "converged"
    assert arrays(reply)["error.relative"][0] <= 0.1


def test_several_targets_are_one_more_dimension(oip: OipClient) -> None:
    request = infer_request("digits:explain:saliency", digits(3), parameters={"top_k": 2})
    reply = oip.infer(request)
    outputs = arrays(reply)
    assert outputs["attributions.pixels"].shape == (3, 2, 1, 8, 8)
    assert outputs["target.index"].shape == outputs["target.output"].shape == (3, 2)


def test_outputs_come_as_they_are_asked_for(oip: OipClient, stub: ExplanationServiceStub) -> None:
    rows = cells(2)
    wanted = ("target.label", "prediction.logits", "standard_errors.measurements")
    options: dict[str, Parameter] = {"deterministic": True}
    name = "cells:explain:expected_gradients"
    request = infer_request(name, rows, outputs=wanted, parameters=options)
    outputs = arrays(oip.infer(request))
    assert tuple(outputs) == wanted
    expected = stub.Explain(
        asking.explain(
            rows,
            method("expected_gradients"),
            output=spec_pb2.OutputOptions(return_outputs=True),
            deterministic=True,
        )
    )
    assert_array_equal(outputs["prediction.logits"], asking.array(expected.outputs[0]))
    errors = [
        asking.array(each.attributions[0].standard_errors) for each in asking.explanations(expected)
    ]
    assert_array_equal(outputs["standard_errors.measurements"], errors)
    # Saliency has no baseline.
    request = infer_request("cells:explain:saliency", rows, outputs=WHERE_KNOWN)
    unknown = arrays(oip.infer(request))
    assert tuple(unknown) == WHERE_KNOWN
    assert all(np.isnan(each).all() for each in unknown.values())
    with pytest.raises(grpc.RpcError, match=r"outputs\[0\].name: the model has no output 'logit'"):
        oip.infer(infer_request("cells", rows, outputs=("logit",)))


def test_a_layer_is_explained_where_it_is_named(oip: OipClient) -> None:
    options: dict[str, Parameter] = {"explain": "grad_cam", "layer": "features"}
    outputs = arrays(oip.infer(infer_request("digits", digits(2), parameters=options)))
    assert outputs["layer_attributions"].shape[:2] == (2, 1)


def test_a_stream_tells_what_is_known_on_the_way_and_marks_the_last_reply(
    oip: OipClient, stub: ExplanationServiceStub
) -> None:
    rows = cells()
    options: dict[str, Parameter] = {
        "cache": "bypass",
        "deterministic": True,
        "n_samples": 3000,
        "triton_enable_empty_final_response": True,
    }
    name = "cells:explain:shapley_value_sampling"
    first = infer_request(name, rows, id="first", parameters=options)
    replies = oip.stream(first, infer_request("cells", rows, id="second"))
    answers = [each.infer_response for each in replies]
    assert not any(each.error_message for each in replies)
    final = [parameters(each)["triton_final_response"] for each in answers]
    assert final == [False] * (len(final) - 2) + [True, True]
    assert len(final) > 2
    assert [each.id for each in answers] == ["first"] * (len(final) - 1) + ["second"]
    errors = [arrays(each)["error.standard_error"][0] for each in answers[:-1]]
    assert errors[-1] < errors[0]
    expected = stub.Explain(
        asking.explain(
            rows,
            method("shapley_value_sampling", n_samples=3000),
            deterministic=True,
            cache=asking.BYPASS,
        )
    )
    found = arrays(answers[-2])["attributions.measurements"]
    assert_array_equal(found, asking.attributions(expected))


def test_a_stream_goes_on_after_an_error(oip: OipClient) -> None:
    rows = cells()
    replies = oip.stream(
        infer_request("cells:explain:nothing", rows, id="wrong"),
        b"\xff\xff",
        infer_request("cells", rows, id="right"),
    )
    assert (
        "[request id: wrong] There is no model 'cells:explain:nothing'" in replies[0].error_message
    )
    assert replies[0].infer_response.id == "wrong"
    assert "its bytes are not a message" in replies[1].error_message
    assert replies[2].infer_response.id == "right"
    assert not replies[2].error_message


def has(server: Server, rpc: str, count: int) -> bool:
    """Whether a server has so many calls of a method in flight."""
    with urlopen(f"http://{server.http_address}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    begin = f'adcaptum_requests_in_flight{{rpc="{rpc}"}} '
    found = [float(each.split()[-1]) for each in text.splitlines() if each.startswith(begin)]
    return sum(found) == count


LONG: dict[str, Parameter] = {"n_samples": 1500, "cache": "bypass"}


@pytest.mark.one_process
def test_what_nobody_waits_for_ends(
    oip: OipClient, channel: grpc.Channel, server: Server, eventually: Eventually
) -> None:
    request = infer_request("digits:explain:shapley_value_sampling", digits(), parameters=LONG)
    for rpc, own in (("ModelInfer", "Explain"), ("ModelStreamInfer", "ExplainStream")):
        call = oip.begin(rpc, request)
        eventually(partial(has, server, own, 1))
        call.cancel()
        eventually(partial(has, server, own, 0))


def test_streams_are_bounded(server: Server) -> None:
    request = infer_request("cells", cells())
    with grpc.insecure_channel(server.address) as channel:
        oip = OipClient(channel)
        opened = [oip.open() for _ in range(MOST_STREAMS)]
        for requests, replies in opened:
            requests.put(request)
            assert not next(replies).error_message
        requests, replies = oip.open()
        with pytest.raises(grpc.RpcError) as full:
            next(replies)
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert asking.reason(full.value) == "QUEUE_FULL"
        for requests, _ in opened:
            requests.put(None)
    oip = OipClient(grpc.insecure_channel(server.address))
    assert not oip.stream(request)[0].error_message


def test_statistics_count_each_virtual_model_apart(oip: OipClient) -> None:
    name = "cells:explain:feature_ablation"

    def statistics() -> Any:
        (own,) = oip.call("ModelStatistics", name=name).model_stats
        return own

    before = statistics()
    for seed in range(3):
        request = infer_request(name, cells(2, seed), parameters={"cache": "bypass"})
        oip.infer(request)
    oip.infer(infer_request(name, cells(2, 0)))
    oip.infer(infer_request(name, cells(2, 0)))
    with pytest.raises(grpc.RpcError):
        oip.infer(infer_request(name, cells(2), parameters={"target": 99}))
    after = statistics()
    assert after.inference_count - before.inference_count == 10
    assert after.last_inference > before.last_inference
    now, then = after.inference_stats, before.inference_stats
    assert now.success.count - then.success.count == 5
    assert now.fail.count - then.fail.count == 1
    assert now.cache_hit.count - then.cache_hit.count == 1
    assert now.compute_infer.count - then.compute_infer.count == 4
    assert now.compute_infer.ns > then.compute_infer.ns
    assert now.success.ns - then.success.ns >= now.compute_infer.ns - then.compute_infer.ns
    with pytest.raises(grpc.RpcError) as unknown:
        oip.call("ModelStatistics", name="sells")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_errors_have_the_protocols_fields_the_id_and_our_details(oip: OipClient) -> None:
    request = infer_request("cells", cells() * np.float32("nan"), id="mine")
    with pytest.raises(grpc.RpcError) as refused:
        oip.infer(request)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("[request id: mine] raw_input_contents[0]: nan at element 0")
    details = asking.details(error)
    assert details["BadRequest"].field_violations[0].field == "raw_input_contents[0]"
    assert details["ErrorInfo"].reason == "FIELD_INVALID"
    assert details["RequestInfo"].request_id == "mine"
    assert {each.key: each.value for each in error.trailing_metadata()}["x-request-id"] == "mine"


def test_hints_of_other_forms_of_the_protocol_change_nothing(oip: OipClient) -> None:
    """KServe's client sends the number of bytes of each input, which is REST's business."""
    request = infer_request("cells", cells())
    request.inputs[0].parameters["binary_data_size"].int64_param = 120
    request.parameters["binary_data_output"].bool_param = True
    assert_array_equal(arrays(oip.infer(request))["logits"].shape, (1, 2))
    request.inputs[0].parameters["binary"].bool_param = True
    with pytest.raises(grpc.RpcError, match=r"inputs\[0\].parameters.binary: there is no such"):
        oip.infer(request)


def test_what_the_server_lacks_says_so(oip: OipClient, channel: grpc.Channel) -> None:
    oip.call("SystemSharedMemoryUnregister")
    oip.call("CudaSharedMemoryUnregister", name="all")
    for name in ("TraceSetting", "LogSettings", "SystemSharedMemoryRegister"):
        refusing: Any = channel.unary_unary(f"/{SERVICE}/{name}")
        with pytest.raises(grpc.RpcError, match=f"{name}: ") as refused:
            refusing(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    request = infer_request("cells", cells())
    request.ClearField("raw_input_contents")
    request.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(grpc.RpcError, match="shares no memory with clients"):
        oip.infer(request)


def test_a_timeout_is_a_deadline(oip: OipClient) -> None:
    options: dict[str, Parameter] = {"timeout": 20_000, "n_samples": 100_000, "on_deadline": "fail"}
    request = infer_request("cells:explain:lime", cells(), parameters=options)
    with pytest.raises(grpc.RpcError) as late:
        oip.infer(request)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_states_of_the_list_are_the_protocols() -> None:
    assert {*model_index.STATES.values()} <= {"READY", "LOADING", "UNAVAILABLE"}
