"""Requests that take long to read hold up nobody: other calls are answered before they are."""

import io
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    tensor_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    BYPASS,
    cells,
    digits,
    explain,
    explanations,
    index,
    mask,
    method,
    of_neuron,
    predict,
    reason,
    typed,
)

pytestmark = pytest.mark.alone

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def picture(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), "white").save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def encoded(*items: bytes) -> tensor_pb2.Tensor:
    data = b"".join(struct.pack("<I", len(item)) + item for item in items)
    return tensor_pb2.Tensor(datatype="BYTES", shape=[len(items)], data=data)


LARGE = picture(6000)
"""36 million pixels in 50 kB."""


def of_digits(**fields: Any) -> pb.ExplainRequest:
    # Nothing is shared, nor answered from the cache.
    fields.setdefault("cache", BYPASS)
    return explain(digits(), method("saliency"), model="digits", **fields)


def large_image() -> pb.ExplainRequest:
    request = of_digits()
    request.inputs[0].CopyFrom(encoded(LARGE))
    return request


def large_baselines() -> pb.ExplainRequest:
    both = spec_pb2.Baseline(distribution=encoded(LARGE, LARGE))
    request = of_digits(baselines=[both])
    request.spec.methods[0].name = "gradient_shap"
    return request


SLOW = {"image": large_image, "baselines": large_baselines}


@pytest.mark.parametrize("name", SLOW)
def test_others_are_answered_while_large_images_are_decoded(
    name: str, stub: ExplanationServiceStub
) -> None:
    attacks = [stub.Explain.future(SLOW[name]()) for _ in range(3)]
    overtaken = 0
    while not all(each.done() for each in attacks):
        assert stub.Predict(predict(cells())).outputs
        overtaken += not all(each.done() for each in attacks)
    # Each of them alone is dozens of predictions long.
    assert overtaken >= 3
    for each in attacks:
        assert explanations(each.result())


def many_baselines() -> pb.ExplainRequest:
    return of_digits(baselines=[spec_pb2.Baseline(tensor=encoded(LARGE))] * 10)


def many_images() -> pb.ExplainRequest:
    request = of_digits()
    request.inputs[0].CopyFrom(encoded(*[LARGE] * 8))
    return request


def impossible_image() -> pb.ExplainRequest:
    request = of_digits()
    header = bytearray(LARGE)
    header[16:24] = struct.pack(">II", 100_000, 100_000)
    request.inputs[0].CopyFrom(encoded(bytes(header)))
    return request


def masks_of_bytes() -> pb.ExplainRequest:
    groups = tensor_pb2.Tensor(datatype="BYTES", shape=[1 << 22], data=b"\0" * (1 << 24))
    masks = [spec_pb2.FeatureMask(tensor=groups)]
    return explain(cells(), method("feature_ablation"), feature_masks=masks)


def empty_items() -> pb.ExplainRequest:
    request = of_digits()
    many = tensor_pb2.Tensor(datatype="BYTES", shape=[8], data=b"\0" * (1 << 24))
    request.inputs[0].CopyFrom(many)
    return request


def window_lengths() -> pb.ExplainRequest:
    return explain(cells(), method("occlusion", sliding_window_shapes=[1] * 1_000_000))


def neuron_indices() -> pb.ExplainRequest:
    return explain(cells(), method("saliency"), target=of_neuron("hidden", *[1] * 3_000_000))


def target_indices() -> pb.ExplainRequest:
    return explain(cells(), target=index(*[0] * 3_000_000))


def many_targets() -> pb.ExplainRequest:
    return explain(cells(), targets=[spec_pb2.Target()] * 500_000)


def many_typed_numbers() -> pb.ExplainRequest:
    request = explain(cells())
    request.inputs[0].CopyFrom(typed(*[[1] * 30] * 30_000))
    return request


def deep_lists() -> pb.ExplainRequest:
    request = explain(cells())
    lists = request.inputs[0].values
    for _ in range(40):
        lists = lists.values.add().list_value
    return request


def many_names() -> pb.ExplainRequest:
    names = [""] * 1_000_000
    groups = mask(np.zeros((1, 30), np.int64), names=names)
    return explain(cells(), method("feature_ablation"), feature_masks=[groups])


def empty_baselines() -> pb.ExplainRequest:
    return explain(cells(), baselines=[spec_pb2.Baseline()] * 500_000)


def long_shape() -> pb.ExplainRequest:
    request = explain(cells())
    request.inputs[0].shape.extend([1] * 1_000_000)
    return request


def empty_methods() -> pb.ExplainRequest:
    return explain(cells(), *[method_pb2.MethodSpec()] * 500_000)


def long_text() -> pb.ExplainRequest:
    return explain(cells(), target=spec_pb2.Target(label="x" * (1 << 24)))


REFUSED: dict[str, Callable[[], pb.ExplainRequest]] = {
    each.__name__: each
    for each in (
        many_baselines,
        many_images,
        impossible_image,
        masks_of_bytes,
        empty_items,
        window_lengths,
        neuron_indices,
        target_indices,
        many_targets,
        many_typed_numbers,
        deep_lists,
        many_names,
        empty_baselines,
        long_shape,
        empty_methods,
        long_text,
    )
}


MEANT = {
    "many_baselines", "many_images", "impossible_image", "masks_of_bytes", "empty_items",
    "deep_lists",
}  # fmt: skip
"""Requests that are refused for what they mean; the others by their size, before that is read."""


@pytest.mark.parametrize("name", REFUSED)
def test_requests_of_any_length_are_refused_and_others_answered(
    name: str, stub: ExplanationServiceStub
) -> None:
    request = REFUSED[name]()
    attacks: list[Any] = [stub.Explain.future(request) for _ in range(4)]
    assert stub.Predict(predict(cells())).outputs
    for each in attacks:
        assert each.code() is INVALID
        assert reason(each) == ("FIELD_INVALID" if name in MEANT else "REQUEST_TOO_LARGE")
        assert len(each.details()) < 1000


def test_a_large_image_is_given_up_at_the_deadline(
    server: Server, stub: ExplanationServiceStub
) -> None:
    attacks = [stub.Explain.future(large_baselines(), timeout=0.2) for _ in range(10)]
    for each in attacks:
        assert each.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # What is left of them ends at the next image: those that come now have their turn.
    assert explanations(stub.Explain(large_image()))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: str, value: str) -> bytes:
    literal = b"".join(bytes([len(each)]) + each.encode() for each in (name, value))
    return b"\0" + literal


def test_streams_that_send_nothing_hold_up_nobody(
    server: Server, stub: ExplanationServiceStub
) -> None:
    host, _, port = server.address.rpartition(":")
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/adcaptum.v1.ExplanationService/Explain",
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",  # codespell:ignore te
    }
    block = b"".join(header(*each) for each in fields.items())
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        opened = b"".join(frame(1, 4, 2 * number + 1, block) for number in range(20_000))
        connection.setblocking(False)
        sent = 0
        for _ in range(100):
            with suppress(BlockingIOError, ConnectionError):
                sent += connection.send(opened[sent : sent + (1 << 16)])
            assert stub.Predict(predict(cells())).outputs
        assert sent > len(block) * 2000
    assert stub.Predict(predict(cells())).outputs


def test_the_bounds_leave_room_for_what_the_model_takes(stub: ExplanationServiceStub) -> None:
    request = of_digits()
    request.inputs[0].CopyFrom(encoded(*[picture(8)] * 8))
    assert len(explanations(stub.Explain(request))) == 8
    batch = np.zeros((64, 30), np.float32)
    assert len(explanations(stub.Explain(explain(batch, method("saliency"))))) == 64
