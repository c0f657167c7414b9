"""Oversized, contradictory and broken messages: every answer has a typed status."""

from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings, strategies as st

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.parameters import describe
from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_service_pb2 as pb, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    background,
    cells,
    digits,
    explain,
    explanations,
    method,
    predict,
    reason,
    tensor,
)

TYPED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

NAMES = sorted(
    {
        *METHODS,
        *(parameter.name for each in METHODS.values() for parameter in describe(each)),
        *("", "cells", "digits", "1", "stable", "hidden", "features", "measurements", "pixels"),
        *("mean", "zero", "malignant", "FP32", "FP16", "FP64", "INT64", "UINT8", "BYTES", "BOOL"),
        *("x" * 3000, "\u2603", "../..", "%n"),
    }
)
WHOLE = st.sampled_from(
    [0, 1, 2, 3, 7, 8, 29, 30, 31, 120, 1000, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
)
SMALL = WHOLE.filter(lambda number: number < 2**31).flatmap(
    lambda number: st.sampled_from([number, -number])
)
FRACTIONS = st.sampled_from(
    [
        *(0.0, -0.0, 1.0, 0.05, 0.5, -1.0, 2.0, 1e-3, 1e-300, 5e-324, 1e308, -1e308, 3e38),
        *(float("nan"), float("inf"), -float("inf")),
    ]
)
DATA = st.one_of(
    st.sampled_from(
        [
            b"",
            b"\0" * 4,
            b"\0\0\0\0" * 30,
            cells().tobytes(),
            digits().tobytes(),
            np.full(30, np.nan, np.float32).tobytes(),
            np.full(30, 3e38, np.float32).tobytes(),
            b"\x08\0\0\0\x89PNG\r\n\x1a\n",
            b"\xff\xff\xff\x7f",
        ]
    ),
    st.binary(max_size=200),
)
FIELDS = tuple(pb.ExplainRequest.DESCRIPTOR.fields)
CHANCE = st.integers(0, 9)


NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: FRACTIONS,
    FieldDescriptor.CPPTYPE_ENUM: st.sampled_from([0, 1, 2, 3, 99]),
    FieldDescriptor.CPPTYPE_INT32: SMALL,
    FieldDescriptor.CPPTYPE_INT64: st.one_of(WHOLE, WHOLE.map(lambda number: -number)),
}


def scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return DATA if field.type == FieldDescriptor.TYPE_BYTES else st.sampled_from(NAMES)
    return NUMBERS[field.cpp_type]


@st.composite
def filled(draw: st.DrawFn, kind: type[Message], odds: int, depth: int) -> Any:
    """A message of which each field is set in so many of ten cases, whatever it means."""
    made: Any = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(CHANCE) >= odds:
            continue
        value = getattr(made, field.name)
        if field.message_type is None:
            if field.is_repeated:
                value.extend(draw(st.lists(scalar(field), max_size=4)))
            else:
                setattr(made, field.name, draw(scalar(field)))
        elif field.message_type.GetOptions().map_entry:
            for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
                if depth:
                    kind_of_value = type(value[name])
                    value[name].CopyFrom(draw(filled(kind_of_value, odds, depth - 1)))
        elif depth:
            if field.is_repeated:
                kind_of_value = type(value.add())
                value.pop()
                for _ in range(draw(st.integers(1, 2))):
                    value.append(draw(filled(kind_of_value, odds, depth - 1)))
            else:
                value.CopyFrom(draw(filled(type(value), odds, depth - 1)))
    return made


@st.composite
def requests(draw: st.DrawFn) -> pb.ExplainRequest:
    """A request that is right but for a few fields, of all that there are."""
    values, model = draw(st.sampled_from([(cells(2), "cells"), (digits(2), "digits")]))
    names = draw(st.lists(st.sampled_from(sorted(METHODS)), max_size=2))
    request = explain(values, *map(method, names), model=model)
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        wrong = draw(filled(pb.ExplainRequest, 5, 4))
        only = pb.ExplainRequest()
        if field.is_repeated:
            getattr(only, field.name).extend(getattr(wrong, field.name))
        elif field.message_type is not None:
            if wrong.HasField(field.name):
                getattr(only, field.name).CopyFrom(getattr(wrong, field.name))
        else:
            setattr(only, field.name, getattr(wrong, field.name))
        if draw(st.booleans()):
            request.ClearField(field.name)  # type: ignore[arg-type]
        request.MergeFrom(only)
    return request


def status(stub: ExplanationServiceStub, request: pb.ExplainRequest) -> grpc.StatusCode:
    call = stub.Explain.future(request, timeout=20)
    code = call.code()
    assert len(call.details() or "") < 3000
    return code


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=requests())
def test_every_answer_has_a_typed_status(
    request: pb.ExplainRequest, stub: ExplanationServiceStub
) -> None:
    assert status(stub, request) in TYPED


RPCS = {
    "adcaptum.v1.ExplanationService": (
        "Predict", "Explain", "ExplainStream", "ListModels", "GetModel", "ListMethods", "GetServer",
    ),
    "grpc.health.v1.Health": ("Check", "List", "Watch"),
    "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
}  # fmt: skip


EVERY_RPC = [f"/{service}/{name}" for service, names in RPCS.items() for name in names]


@pytest.mark.parametrize("rpc", EVERY_RPC)
@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 70_000])
def test_bytes_that_are_no_message_are_an_invalid_argument(
    rpc: str, raw: bytes, channel: grpc.Channel, server: Server
) -> None:
    call: Any = channel.unary_unary(rpc)
    if rpc.rpartition("/")[2] in ("ExplainStream", "Watch", "ServerReflectionInfo"):
        call = channel.unary_stream(rpc)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(raw, timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    if "adcaptum" in rpc:
        assert reason(caught.value) == "REQUEST_UNREADABLE"
    assert not [line for line in server.lines if "exception" in line]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_bytes_that_were_changed_on_the_way_are_answered(
    data: st.DataObject, channel: grpc.Channel
) -> None:
    raw = bytearray(explain(cells(), method("saliency")).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Explain")
    try:
        assert call(bytes(raw), timeout=20)
    except grpc.RpcError as error:
        assert error.code() in TYPED  # noqa: PT017


def test_a_mistake_leaves_no_traceback_and_nothing_unreadable_in_the_log(server: Server) -> None:
    assert not [line for line in server.lines if line["event"] == "unreadable"]
    assert not [line for line in server.lines if "exception" in line]
    assert max(len(str(line)) for line in server.lines) < 10_000


def test_a_number_that_overflows_on_the_way_out_is_counted(stub: ExplanationServiceStub) -> None:
    huge = np.full((1, 30), 1e30, np.float32)
    options = spec_pb2.OutputOptions(datatype="FP16")
    request = explain(huge, method("input_x_gradient"), output=options)
    reply = stub.Explain(request)
    assert reply.results[0].non_finite > 0
    assert "NaN or infinite in FP16" in reply.warnings[0]
    fine = stub.Explain(explain(cells(), method("input_x_gradient")))
    assert fine.results[0].non_finite == 0
    assert not fine.warnings


def test_inputs_that_overflow_inside_the_model_are_warned_of(stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(predict(np.full((1, 30), 3e38, np.float32)))
    assert "outputs of the model are NaN or infinite" in reply.warnings[0]


def test_a_budget_that_is_too_small_says_how_many_examples_fit(
    stub: ExplanationServiceStub,
) -> None:
    request = explain(
        cells(8),
        method("kernel_shap"),
        baselines=[background(50)],
        budget=spec_pb2.Budget(max_rows=70_000),
    )
    with pytest.raises(grpc.RpcError, match="of the 8 examples fit"):
        stub.Explain(request)


def test_a_baseline_of_one_row_needs_no_batch(stub: ExplanationServiceStub) -> None:
    row = tensor_pb2.Tensor()
    row.CopyFrom(tensor(cells(1, seed=1)[0]))
    baseline = spec_pb2.Baseline(tensor=row)
    assert explanations(stub.Explain(explain(cells(2), baselines=[baseline])))
