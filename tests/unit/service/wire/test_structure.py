"""Requests as bytes, before they are decoded: how much is not data, and what is not known."""

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.rpc.messages import MessageReader
from adcaptum.service.wire.structure import (
    MOST_FIELDS,
    MOST_STRUCTURE,
    MOST_TYPED,
    check_structure,
    layout,
)
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    tensor_pb2,
)

FIELDS = layout(pb.ExplainRequest.DESCRIPTOR)
UNKNOWN = bytes([0x98, 0x06, 0x01])
"""Field 99, a number."""


def refused(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_structure(raw, FIELDS)
    return caught.value


def spec(**fields: Any) -> pb.ExplainRequest:
    return pb.ExplainRequest(spec=explain_spec_pb2.ExplainSpec(**fields))


def test_data_of_tensors_are_not_structure_wherever_they_are() -> None:
    data = tensor_pb2.Tensor(name="x", datatype="FP32", shape=[1] * 8, data=b"x" * (1 << 20))
    mask = explain_spec_pb2.FeatureMask(tensor=data)
    baselines = [
        explain_spec_pb2.Baseline(tensor=data),
        explain_spec_pb2.Baseline(distribution=data),
    ]
    site = explain_spec_pb2.Site(baselines=baselines, feature_masks=[mask])
    request = spec(feature_masks=[mask], baselines=baselines, site=site)
    request.inputs.extend([data] * 3)
    check_structure(request.SerializeToString(), FIELDS)
    stream = pb.ExplainStreamRequest(explain=request)
    check_structure(stream.SerializeToString(), layout(pb.ExplainStreamRequest.DESCRIPTOR))


MANY: Any = [1] * 10_000
INTEGERS = ParseDict(MANY, Value())


@pytest.mark.parametrize(
    "request_",
    [
        spec(through=explain_spec_pb2.Neuron(index=range(1 << 16))),
        spec(targets=[explain_spec_pb2.Target(label="x" * (1 << 17))]),
        spec(methods=[method_pb2.MethodSpec(name="x", params={"a": INTEGERS})]),
        spec(feature_masks=[explain_spec_pb2.FeatureMask(names=["x" * (1 << 17)])]),
        pb.ExplainRequest(inputs=[tensor_pb2.Tensor(shape=[1] * 70000)]),
    ],
    ids=["indices", "label", "integers", "names", "shape"],
)
def test_much_structure_is_refused_with_its_size(request_: pb.ExplainRequest) -> None:
    error = refused(request_.SerializeToString())
    assert f"at most {MOST_STRUCTURE}" in str(error)
    assert error.reason is Reason.REQUEST_TOO_LARGE


def typed(*rows: Any) -> tensor_pb2.Tensor:
    tensor = tensor_pb2.Tensor()
    parsed: Any = [*rows]
    ParseDict(parsed, tensor.values)
    return tensor


def test_numbers_that_people_type_are_no_structure_up_to_a_bound() -> None:
    rows = typed(*[[0.1] * 1000] * 60)
    check_structure(pb.ExplainRequest(inputs=[rows]).SerializeToString(), FIELDS)
    error = refused(pb.ExplainRequest(inputs=[rows] * 3).SerializeToString())
    assert f"at most {MOST_TYPED}" in str(error)
    assert error.reason is Reason.REQUEST_TOO_LARGE


@pytest.mark.parametrize("element", [b"\x0a\x00", b"\x8a\x00\x00"], ids=["short", "long"])
def test_elements_are_counted_however_they_are_written(element: bytes) -> None:
    raw = tensor_pb2.Tensor(data=b"").SerializeToString()
    values = element * (MOST_TYPED + 1)
    tensor = raw + b"\x2a" + _length(values) + values
    message = b"\x12" + _length(tensor) + tensor
    assert f"at most {MOST_TYPED}" in str(refused(message))
    assert len(pb.ExplainRequest.FromString(message).inputs[0].values.values) > MOST_TYPED


def test_a_long_text_is_one_element() -> None:
    photo = typed("iVBORw0KGgo" * 100_000)
    check_structure(pb.ExplainRequest(inputs=[photo]).SerializeToString(), FIELDS)


def _length(content: bytes) -> bytes:
    left, written = len(content), []
    while left > 127:
        written.append(left & 127 | 128)
        left >>= 7
    return bytes([*written, left])


def _within(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _length(content) + content


def test_large_fields_that_the_server_does_not_know_are_refused() -> None:
    raw = bytes([0xFA, 0x7F, 0x80, 0x80, 0x08]) + b"\0" * (1 << 17)
    assert refused(raw).reason is Reason.FIELD_UNKNOWN


def test_many_small_fields_are_refused_after_the_first_ones() -> None:
    one = pb.ExplainRequest(inputs=[tensor_pb2.Tensor(data=b"x" * 50)]).SerializeToString()
    assert str(MOST_FIELDS) in str(refused(one * 10_000))


@pytest.mark.parametrize(
    "raw", [b"\xff" * 70000, b"\x12\xff\xff\xff\x7f" + b"\0" * 70000, b"\x0b" * 70000]
)
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    error = refused(raw)
    assert "not a message" in str(error)
    assert error.reason is Reason.REQUEST_UNREADABLE


def asked(kilobytes: int = 0) -> pb.ExplainRequest:
    """A request with a message of each kind; a large one with as much data."""
    tensor = tensor_pb2.Tensor(datatype="FP32", shape=[1], data=b"\0" * (1024 * kilobytes))
    neuron = explain_spec_pb2.Neuron(layer="a", index=[1], end=[2])
    baselines = [
        explain_spec_pb2.Baseline(tensor=tensor),
        explain_spec_pb2.Baseline(blur=explain_spec_pb2.Blur(sigma=1)),
        explain_spec_pb2.Baseline(background=explain_spec_pb2.Background(count=1)),
    ]
    mask = explain_spec_pb2.FeatureMask(tensor=tensor)
    request = spec(
        methods=[method_pb2.MethodSpec(name="a", params={"n": INTEGERS})],
        targets=[
            explain_spec_pb2.Target(index=explain_spec_pb2.OutputIndex(values=[1, 2])),
            explain_spec_pb2.Target(neuron=neuron),
            explain_spec_pb2.Target(all=explain_spec_pb2.AllOutputs()),
        ],
        baselines=baselines,
        feature_masks=[mask],
        site=explain_spec_pb2.Site(layer="a", baselines=baselines, feature_masks=[mask]),
        through=neuron,
        budget=explain_spec_pb2.Budget(max_rows=1, tolerance=0.1),
        output=explain_spec_pb2.OutputOptions(max_labels=1),
        seed=1,
    )
    del request.spec.methods[0].params["n"].list_value.values[2:]
    request.model.name = "a"
    request.inputs.extend([tensor, typed([1.0, 2.0], [3.0, 4.0])])
    return request


PLACES = [
    "",
    "model",
    "inputs[1]",
    "spec",
    "spec.methods[0]",
    "spec.targets[0]",
    "spec.targets[0].index",
    "spec.targets[1].neuron",
    "spec.targets[2].all",
    "spec.baselines[0].tensor",
    "spec.baselines[1].blur",
    "spec.baselines[2].background",
    "spec.feature_masks[0]",
    "spec.feature_masks[0].tensor",
    "spec.site",
    "spec.site.baselines[2]",
    "spec.site.feature_masks[0]",
    "spec.through",
    "spec.budget",
    "spec.output",
]


def at(request: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        name, _, place = part.partition("[")
        request = getattr(request, name)
        request = request[int(place[:-1])] if place else request
    return request


@pytest.mark.parametrize("kilobytes", [0, 100], ids=["small", "large"])
@pytest.mark.parametrize("path", PLACES)
def test_a_field_that_the_server_does_not_know_is_refused_with_its_place(
    path: str, kilobytes: int
) -> None:
    request = asked(kilobytes)
    reader = MessageReader.of(pb.ExplainRequest.FromString)
    assert reader.decode(request.SerializeToString()) == request
    at(request, path).MergeFromString(UNKNOWN)
    with pytest.raises(InvalidRequest) as caught:
        reader.decode(request.SerializeToString())
    assert caught.value.reason is Reason.FIELD_UNKNOWN
    (violation,) = caught.value.violations
    assert (violation.field, violation.description) == (
        path,
        "field 99 is not known to this server",
    )
    stream = pb.ExplainStreamRequest(explain=request)
    with pytest.raises(InvalidRequest) as caught:
        MessageReader.of(pb.ExplainStreamRequest.FromString).decode(stream.SerializeToString())
    assert caught.value.violations[0].field == path


def test_a_field_of_another_type_than_the_servers_is_not_known() -> None:
    raw = asked().SerializeToString() + bytes([3 << 3, 1])  # the preset as a number
    with pytest.raises(InvalidRequest, match="field 3 is not known") as caught:
        MessageReader.of(pb.ExplainRequest.FromString).decode(raw)
    assert caught.value.reason is Reason.FIELD_UNKNOWN


@pytest.mark.parametrize("kilobytes", [0, 100], ids=["small", "large"])
def test_an_unknown_field_inside_a_parameter_is_refused_with_its_place(kilobytes: int) -> None:
    request = asked(kilobytes)
    request.spec.methods[0].params["n"].list_value.values[1].MergeFromString(UNKNOWN)
    with pytest.raises(InvalidRequest, match="field 99 is not known") as caught:
        MessageReader.of(pb.ExplainRequest.FromString).decode(request.SerializeToString())
    assert caught.value.reason is Reason.FIELD_UNKNOWN
    assert caught.value.violations[0].field == "spec.methods[0].params.n.value.list_value.values[1]"


def test_an_unknown_field_inside_values_is_refused_with_its_place() -> None:
    request = pb.ExplainRequest(inputs=[typed([1.0, 2.0])])
    request.inputs[0].values.values[0].list_value.values[1].MergeFromString(UNKNOWN)
    with pytest.raises(InvalidRequest, match="field 99 is not known") as caught:
        MessageReader.of(pb.ExplainRequest.FromString).decode(request.SerializeToString())
    place = "inputs[0].values.values[0].list_value.values[1]"
    assert caught.value.violations[0].field == place


@pytest.mark.parametrize(
    "content",
    [b"\x08\x00", b"\x20\x01", b"\x1a\x00", b"\x2a\x00", b"\x32\x00"],
    ids=["null", "boolean", "text", "object", "list"],
)
def test_an_element_that_is_written_a_million_times_is_refused(content: bytes) -> None:
    # Each is one element; decoding 60 MB of it took a second.
    element = content * (1 << 20)
    tensor = _within(0x2A, _within(0x0A, element))
    error = refused(_within(0x12, tensor))
    assert error.reason is Reason.REQUEST_TOO_LARGE


def test_an_image_in_base64_may_have_more_lines_than_a_tensor_has_numbers() -> None:
    photo = typed(f"{'iVBORw0KGgo' * 7}\n" * (MOST_TYPED + 1))
    check_structure(pb.ExplainRequest(inputs=[photo]).SerializeToString(), FIELDS)
