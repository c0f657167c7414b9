"""Bad input gets a clear typed error and harms nothing."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, model_pb2, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    cells,
    details,
    digits,
    explain,
    index,
    method,
    predict,
    tensor,
    value,
)

Change = Callable[[pb.ExplainRequest], None]


def changed(change: Change) -> pb.ExplainRequest:
    request = explain(cells(), method("integrated_gradients"))
    change(request)
    return request


def with_data(values: "np.ndarray[Any, Any]") -> Change:
    return lambda request: request.inputs[0].CopyFrom(tensor(values))


def with_tensor(**fields: object) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        for name, field in fields.items():
            if name == "shape":
                del request.inputs[0].shape[:]
                request.inputs[0].shape.extend(field)  # type: ignore[arg-type]
            else:
                setattr(request.inputs[0], name, field)

    return change


def with_value(wrong: float) -> Change:
    values = cells()
    values[0, 3] = wrong
    return with_data(values)


def with_param(name: str, wrong: float | bool | str) -> Change:
    return lambda request: request.methods[0].params[name].CopyFrom(value(wrong))


def with_target(target: explanation_pb2.Target) -> Change:
    return lambda request: request.target.CopyFrom(target)


def with_baseline(**fields: Any) -> Change:
    return lambda request: request.baselines.append(explanation_pb2.Baseline(**fields))


def with_number(field: str, number: int) -> Change:
    """An enumeration has a number that the protocol does not know."""

    def change(request: pb.ExplainRequest) -> None:
        owner: Any = request.budget if field == "on_deadline" else request
        setattr(owner, field, number)

    return change


def long_datatype(request: pb.ExplainRequest) -> None:
    request.output.datatype = "FP12" * 5000


def with_rows(rows: int) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        request.budget.max_rows = rows

    return change


def with_mask(values: "np.ndarray[Any, Any]") -> Change:
    return lambda request: request.feature_masks.append(tensor(values))


def twice(request: pb.ExplainRequest) -> None:
    request.inputs.append(request.inputs[0])


def neuron_and_target(request: pb.ExplainRequest) -> None:
    request.neuron.layer.name = "hidden"
    request.target.CopyFrom(index(0))


def neuron(*position: int) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        request.neuron.layer.name = "hidden"
        request.neuron.index.extend(position)

    return change


def block(begin: int, *end: int) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        neuron(begin)(request)
        request.neuron.end.extend(end)

    return change


def both(*changes: Change) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        for each in changes:
            each(request)

    return change


def with_layer(name: str = "hidden") -> Change:
    return lambda request: request.layer.MergeFrom(explanation_pb2.Layer(name=name))


def asked_of(name: str, **params: float | bool | str) -> Change:
    return lambda request: request.methods[0].CopyFrom(method(name, **params))


def with_start(**fields: Any) -> Change:
    """A baseline at the layer."""
    start = explanation_pb2.Baseline(**fields)
    return both(with_layer(), lambda request: request.layer_baselines.append(start))


def unlayered(request: pb.ExplainRequest) -> None:
    request.layer_baselines.append(explanation_pb2.Baseline(constant=1))


def named_mask(request: pb.ExplainRequest) -> None:
    request.feature_masks.append(tensor(np.zeros((1, 128), np.int64), "measurements"))


def neuron_by_two_names(request: pb.ExplainRequest) -> None:
    neuron(3)(request)
    request.methods[0].params["neuron"].integers.values.append(4)


def wrapping(request: pb.ExplainRequest) -> None:
    request.methods[0].params["of"].method.CopyFrom(method("integrated_gradients"))


HALVES = np.zeros((1, 64), np.float32)
SAMPLES = explanation_pb2.Samples(count=2)


def unknown_datatype(request: pb.ExplainRequest) -> None:
    request.output.datatype = "FP12"


INVALID = {
    "unknown_datatype": (with_tensor(datatype="FP31"), "inputs[0].datatype", "Did you mean"),
    "long_datatype": (long_datatype, "output.datatype", "...; must be FP32"),
    "unknown_priority": (with_number("priority", 77), "priority", "INTERACTIVE or BATCH"),
    "unknown_cache": (with_number("cache", 99), "cache", "USE or BYPASS"),
    "unknown_end": (with_number("on_deadline", 99), "budget.on_deadline", "FAIL or PARTIAL"),
    "wrong_datatype": (with_data(cells().astype("float64")), "inputs[0].datatype", "FP32"),
    "bytes_for_numbers": (
        with_tensor(datatype="BYTES", shape=[1], data=b"\0\0\0\0"),
        "inputs[0].datatype",
        "FP32",
    ),
    "wrong_rank": (with_data(cells()[None]), "inputs[0].shape", "rank"),
    "wrong_length": (with_data(cells()[:, :29]), "inputs[0].shape", "[-1, 30]"),
    "negative_length": (with_tensor(shape=[-1, 30]), "inputs[0].shape", "negative"),
    "empty_batch": (with_tensor(shape=[0, 30], data=b""), "inputs[0].shape", "empty batch"),
    "too_few_bytes": (with_tensor(data=b"\0" * 119), "inputs[0].data", "takes 120"),
    "too_many_bytes": (with_tensor(data=b"\0" * 124), "inputs[0].data", "takes 120"),
    "huge_shape": (with_tensor(shape=[1 << 62, 1 << 62]), "inputs[0].shape", "at most"),
    "nan": (with_value(np.nan), "inputs[0].data", "finite"),
    "infinity": (with_value(np.inf), "inputs[0].data", "finite"),
    "unknown_input": (with_tensor(name="measurement"), "inputs[0]", "'measurements'"),
    "input_twice": (twice, "inputs[1]", "second"),
    "no_input": (lambda request: request.ClearField("inputs"), "inputs", "missing"),
    "too_many_examples": (with_data(cells(1000)), "inputs[0].shape", "at most"),
    "unknown_parameter": (
        with_param("n_step", 5),
        "methods[0].params.n_step",
        "'n_steps'",
    ),
    "parameter_of_wrong_type": (
        with_param("n_steps", "many"),
        "methods[0].params.n_steps",
        "integer",
    ),
    "parameter_too_small": (with_param("n_steps", 0), "methods[0].params.n_steps", "at least 1"),
    "parameter_huge": (with_param("n_steps", 1 << 60), "methods[0].params.n_steps", "at most"),
    "unknown_choice": (with_param("method", "simpson"), "methods[0].params.method", "one of"),
    "target_too_large": (with_target(index(2)), "target.indices.values[0]", "from 0 to 1"),
    "target_negative": (with_target(index(-1)), "target.indices.values[0]", "from 0 to 1"),
    "too_many_targets": (with_target(index(0, 1)), "target.indices", "per example"),
    "unknown_label": (
        with_target(explanation_pb2.Target(label="begnin")),
        "target.label",
        "'benign'",
    ),
    "top_none": (with_target(explanation_pb2.Target(top_k=0)), "target.top_k", "from 1 to 2"),
    "top_too_many": (with_target(explanation_pb2.Target(top_k=3)), "target.top_k", "from 1 to 2"),
    "baseline_of_wrong_shape": (
        with_baseline(tensor=tensor(cells()[:, :7])),
        "baselines[0].tensor.shape",
        "[-1, 30]",
    ),
    "too_many_baselines": (
        with_baseline(tensor=tensor(cells(2))),
        "baselines[0].tensor",
        "must be 1",
    ),
    "distribution": (with_baseline(samples=SAMPLES), "baselines[0].samples", "gradient_shap"),
    "distribution_inside": (
        both(asked_of("smooth_grad"), wrapping, with_baseline(samples=SAMPLES)),
        "baselines[0].samples",
        "gradient_shap",
    ),
    "no_layer": (asked_of("grad_cam"), "layer", "'hidden', 'features', 'standardise'"),
    "start_without_layer": (unlayered, "layer_baselines", "without a layer"),
    "start_and_baseline": (
        both(with_start(constant=1), with_baseline(constant=1)),
        "layer_baselines",
        "one of the two",
    ),
    "start_for_nothing": (
        both(asked_of("saliency"), with_start(constant=1)),
        "layer_baselines",
        "saliency compares nothing",
    ),
    "start_for_inputs": (
        both(asked_of("conductance"), with_start(constant=1)),
        "layer_baselines",
        "conductance compares the inputs",
    ),
    "start_of_input": (
        with_start(input="measurements", constant=1),
        "layer_baselines[0].input",
        "must be empty",
    ),
    "start_blurred": (
        with_start(blur=explanation_pb2.Blur(sigma=1)),
        "layer_baselines[0].blur",
        "zero, constant or tensor",
    ),
    "start_unsaid": (with_start(), "layer_baselines[0].kind", "zero, constant or tensor"),
    "start_infinite": (with_start(constant=np.inf), "layer_baselines[0].constant", "finite"),
    "start_of_integers": (
        with_start(tensor=tensor(np.zeros((1, 128), np.int64))),
        "layer_baselines[0].tensor",
        "floating-point",
    ),
    "start_of_wrong_shape": (
        with_start(tensor=tensor(HALVES)),
        "layer_baselines[0]",
        "(1, 128)",
    ),
    "starts_too_many": (
        both(with_start(constant=1), with_start(constant=1)),
        "layer_baselines",
        "one each",
    ),
    "starts_a_distribution": (
        with_start(tensor=tensor(np.zeros((3, 128), np.float32))),
        "layer_baselines[0].tensor",
        "gradient_shap",
    ),
    "mask_of_layer_of_wrong_shape": (
        both(asked_of("feature_ablation"), with_layer(), with_mask(np.zeros((1, 64), np.int64))),
        "feature_masks[0]",
        "(1, 128)",
    ),
    "mask_of_layer_named": (
        both(asked_of("feature_ablation"), with_layer(), named_mask),
        "feature_masks[0].name",
        "must be empty",
    ),
    "block_ends_elsewhere": (block(3, 5, 6), "neuron.end", "as many as in index, 1"),
    "block_empty": (block(3, 3), "neuron.end[0]", "greater than index, 3"),
    "block_out_of_range": (block(128, 130), "neuron", "(128,)"),
    "way_through_a_block": (
        both(asked_of("neuron_conductance"), block(3, 5)),
        "neuron.end",
        "single",
    ),
    "way_through_a_layer": (
        both(asked_of("neuron_conductance"), neuron(3), with_layer()),
        "layer",
        "the neuron names the layer",
    ),
    "way_through_two": (
        both(asked_of("neuron_conductance"), neuron_by_two_names),
        "neuron",
        "beside the parameter neuron",
    ),
    "way_and_neuron": (
        both(neuron(3), lambda request: request.methods.append(method("neuron_conductance"))),
        "neuron",
        "integrated_gradients, which explains the neuron",
    ),
    "unknown_baseline": (with_baseline(named="men"), "baselines[0].named", "'mean'"),
    "infinite_baseline": (with_baseline(constant=np.inf), "baselines[0].constant", "finite"),
    "blurred_table": (
        with_baseline(blur=explanation_pb2.Blur(sigma=1)),
        "baselines[0].blur",
        "only images",
    ),
    "too_many_samples": (
        with_baseline(samples=explanation_pb2.Samples(count=101)),
        "baselines[0].samples.count",
        "from 1 to 100",
    ),
    "huge_budget": (with_rows(1 << 63), "budget.max_rows", "at most"),
    "budget_too_small": (with_rows(3), "budget.max_rows", "needs at least"),
    "mask_of_wrong_shape": (
        with_mask(np.zeros((1, 29), np.int64)),
        "feature_masks[0].shape",
        "[1, 30]",
    ),
    "mask_of_fractions": (
        with_mask(np.zeros((1, 30), np.float32)),
        "feature_masks[0].datatype",
        "whole numbers",
    ),
    "neuron_with_target": (neuron_and_target, "target", "unset"),
    "neuron_negative": (neuron(-1), "neuron.index[0]", "at least 0"),
    "unknown_output_datatype": (unknown_datatype, "output.datatype", "FP16"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_request_is_told_the_field_and_what_is_allowed(
    name: str, stub: ExplanationServiceStub
) -> None:
    change, field, text = INVALID[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(change))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad: Any = details(caught.value)["BadRequest"]
    assert [violation.field for violation in bad.field_violations] == [field]
    assert text in bad.field_violations[0].description
    assert stub.Predict(predict(cells())).outputs


@pytest.mark.parametrize("name", ["unknown_priority", "unknown_end"])
def test_a_kept_answer_is_none_to_an_invalid_request(
    name: str, stub: ExplanationServiceStub
) -> None:
    stub.Explain(changed(lambda request: None))
    kept = stub.Explain(changed(lambda request: None))
    assert kept.cache == explanation_pb2.CACHE_STATUS_HIT
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(INVALID[name][0]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def set_model(name: str, **selector: str) -> Change:
    return lambda request: request.model.CopyFrom(model_pb2.ModelRef(name=name, **selector))


def set_method(name: str) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        request.methods[0].Clear()
        request.methods[0].name = name

    return change


def set_layer(name: str) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        request.layer.name = name

    return change


MISSING = {
    "model": (set_model("cels"), "model", "'cells'"),
    "version": (set_model("cells", version="3"), "version", "'1'"),
    "alias": (set_model("cells", alias="stabel"), "alias", "'stable'"),
    "method": (set_method("integrated_gradient"), "method", "'integrated_gradients'"),
    "layer": (set_layer("hiden"), "layer", "'hidden'"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_does_not_exist_is_answered_with_the_nearest_names(
    name: str, stub: ExplanationServiceStub
) -> None:
    change, resource, text = MISSING[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(change))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    info: Any = details(caught.value)["ResourceInfo"]
    assert info.resource_type == resource
    assert text in str(caught.value.details())


def test_a_neuron_out_of_range_is_told_the_layers_shape(stub: ExplanationServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(neuron(128)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_broken_images_are_refused(stub: ExplanationServiceStub) -> None:
    request = explain(digits(), model="digits")
    request.inputs[0].CopyFrom(tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\4\0\0\0nope"))
    with pytest.raises(grpc.RpcError, match="not a readable PNG or JPEG"):
        stub.Explain(request)


def test_a_message_over_the_limit_is_refused(
    stub: ExplanationServiceStub, channel: grpc.Channel
) -> None:
    request = predict(cells())
    request.inputs[0].data = b"\0" * (65 << 20)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Predict(predict(cells())).outputs


def test_bytes_that_are_no_request_harm_nothing(
    stub: ExplanationServiceStub, channel: grpc.Channel
) -> None:
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Explain")
    with pytest.raises(grpc.RpcError):
        call(b"\xff\xff\xff")
    assert stub.Predict(predict(cells())).outputs


def test_an_unknown_method_of_the_service_is_unimplemented(channel: grpc.Channel) -> None:
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Guess")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("bad", ["a b", "x" * 200])
def test_a_bad_request_id_is_replaced(bad: str, stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(predict(cells()), metadata=(("x-request-id", bad),))
    assert reply.request_id != bad


def test_an_expired_deadline_is_told(stub: ExplanationServiceStub) -> None:
    request = explain(digits(8), method("integrated_gradients", n_steps=900), model="digits")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
