"""Bounds of what it takes to read a request."""

import io
import struct
from dataclasses import replace

import pytest
from PIL import Image

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.image_sizes import size_of
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.reading_cost import ReadingCost, has_images
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, tensor_pb2
from tests.unit.service.tiny_model import served

PIXELS = 1_000_000


def encoded(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **more: bool) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), "white").save(buffer, kind, **more)
    return buffer.getvalue()


def batch(*items: bytes) -> tensor_pb2.Tensor:
    data = b"".join(struct.pack("<I", len(item)) + item for item in items)
    return tensor_pb2.Tensor(datatype="BYTES", shape=[len(items)], data=data)


def photos() -> ServedModel:
    model = served()[0]
    declared = InputDeclaration("photo", "image", "FP32", (-1, 3, 224, 224), resize=224)
    declaration = replace(model.loaded.declaration, inputs=(declared,))
    return replace(model, loaded=replace(model.loaded, declaration=declaration))


def cost(request: pb.ExplainRequest) -> ReadingCost:
    return ReadingCost.of_explanation(request, photos(), len(request.SerializeToString()), PIXELS)


@pytest.mark.parametrize(
    ("kind", "mode", "more"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "CMYK", {}),
    ],
)
def test_sizes_are_read_from_headers(kind: str, mode: str, more: dict[str, bool]) -> None:
    assert size_of(encoded(313, 27, kind, mode, **more)) == (313, 27)


@pytest.mark.parametrize("length", range(0, 700, 7))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_headers_may_be_cut_anywhere(kind: str, length: int) -> None:
    assert size_of(encoded(313, 27, kind)[:length]) in (None, (313, 27))


def test_other_bytes_have_no_size() -> None:
    assert size_of(b"") is None
    assert size_of(b"\xff\xd8" + b"\xff" * 100_000) is None
    assert size_of(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000) is None
    assert size_of(encoded(9, 9, "BMP")) is None


def test_the_cost_grows_with_pixels_and_not_with_bytes() -> None:
    small, large = (
        cost(pb.ExplainRequest(inputs=[batch(encoded(side, side))])) for side in (10, 1000)
    )
    assert large.pixels == 1_000_000
    assert large.seconds > 10 * small.seconds


@pytest.mark.parametrize(
    "request_",
    [
        pb.ExplainRequest(inputs=[batch(encoded(1001, 1000))]),
        pb.ExplainRequest(baselines=[explanation_pb2.Baseline(tensor=batch(encoded(1001, 1000)))]),
        pb.ExplainRequest(inputs=[batch(*[encoded(900, 900)] * 3)]),
        pb.ExplainRequest(
            inputs=[batch(*[encoded(900, 900)] * 2)],
            baselines=[explanation_pb2.Baseline(tensor=batch(encoded(900, 900)))],
        ),
    ],
    ids=["image", "baseline", "images", "images and baselines"],
)
def test_too_many_pixels_are_refused_wherever_they_are(request_: pb.ExplainRequest) -> None:
    with pytest.raises(InvalidRequest, match="pixels"):
        cost(request_)


def test_broken_images_cost_nothing_and_are_refused_later() -> None:
    assert cost(pb.ExplainRequest(inputs=[batch(b"nope", encoded(9, 9))])).pixels == 0


def test_pixels_that_are_brought_to_the_models_size_count() -> None:
    tiny = tensor_pb2.Tensor(datatype="UINT8", shape=[300, 1, 1, 3], data=b"\0" * 900)
    assert cost(pb.ExplainRequest(inputs=[tiny])).seconds > 1


def test_a_blur_costs_by_the_side_of_the_image() -> None:
    image = tensor_pb2.Tensor(datatype="FP32", shape=[1, 3, 224, 224], data=b"\0" * 602_112)
    blur = explanation_pb2.Baseline(blur=explanation_pb2.Blur(sigma=3))
    plain = cost(pb.ExplainRequest(inputs=[image]))
    assert cost(pb.ExplainRequest(inputs=[image], baselines=[blur])).seconds > 10 * plain.seconds


def test_only_images_have_to_be_looked_at() -> None:
    model = photos().loaded
    numbers = tensor_pb2.Tensor(datatype="FP32", shape=[1, 3, 2, 2], data=b"\0" * 48)
    assert not has_images(pb.ExplainRequest(inputs=[numbers]), model)
    assert has_images(pb.PredictRequest(inputs=[batch(b"x")]), model)
    baseline = explanation_pb2.Baseline(tensor=batch(b"x"))
    assert has_images(pb.ExplainRequest(inputs=[numbers], baselines=[baseline]), model)
