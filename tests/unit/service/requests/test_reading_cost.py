"""Bounds of what it takes to read a request."""

import base64
import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.image_sizes import size_of
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.requests.reading_cost import (
    TARGET_SECONDS,
    ReadingCost,
    has_images,
    is_plain,
)
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, tensor_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, method, tensor, typed
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


def cost(inputs: list[tensor_pb2.Tensor], **fields: Any) -> ReadingCost:
    model = photos()
    request = pb.ExplainRequest(inputs=inputs, spec=explain_spec_pb2.ExplainSpec(**fields))
    question = ResolvedQuestions().of(request, model)
    nbytes = len(request.SerializeToString())
    return ReadingCost.of_explanation(request, model, question, nbytes, PIXELS)


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
    small, large = (cost([batch(encoded(side, side))]) for side in (10, 1000))
    assert large.pixels == 1_000_000
    assert large.seconds > 10 * small.seconds


def text(*items: bytes) -> tensor_pb2.Tensor:
    return typed(*(base64.b64encode(item).decode() for item in items))


@pytest.mark.parametrize("write", [batch, text])
@pytest.mark.parametrize("kind", ["tensor", "distribution"])
def test_too_many_pixels_are_refused_wherever_they_are(
    kind: str, write: Callable[..., tensor_pb2.Tensor]
) -> None:
    def baseline(*items: bytes) -> explain_spec_pb2.Baseline:
        return asking.baseline(kind, write(*items))

    large, some = encoded(1001, 1000), encoded(900, 900)
    methods = [method("gradient_shap")]
    for inputs, baselines in (
        ([write(large)], []),
        ([], [baseline(large)]),
        ([write(some, some, some)], []),
        ([write(some, some)], [baseline(some)]),
    ):
        with pytest.raises(InvalidRequest, match="pixels"):
            cost(inputs, methods=methods, baselines=baselines)


def test_broken_images_cost_nothing_and_are_refused_later() -> None:
    assert cost([batch(b"nope", encoded(9, 9))]).pixels == 0


def test_pixels_that_are_brought_to_the_models_size_count() -> None:
    tiny = tensor_pb2.Tensor(datatype="UINT8", shape=[300, 1, 1, 3], data=b"\0" * 900)
    assert cost([tiny]).seconds > 1


def test_a_blur_costs_by_the_side_of_the_image() -> None:
    image = tensor_pb2.Tensor(datatype="FP32", shape=[1, 3, 224, 224], data=b"\0" * 602_112)
    blur = explain_spec_pb2.Baseline(blur=explain_spec_pb2.Blur(sigma=3))
    plain = cost([image])
    assert cost([image], baselines=[blur]).seconds > 10 * plain.seconds


def test_only_images_have_to_be_looked_at() -> None:
    model = photos().loaded
    numbers = tensor_pb2.Tensor(datatype="FP32", shape=[1, 3, 2, 2], data=b"\0" * 48)
    plain = explain_spec_pb2.ExplainSpec()
    assert not has_images(pb.ExplainRequest(inputs=[numbers]), model, plain)
    assert not has_images(pb.PredictRequest(inputs=[typed([1, 2])]), model)
    for image in (batch(b"x"), typed("eA==")):
        assert has_images(pb.PredictRequest(inputs=[image]), model)
        for kind in ("tensor", "distribution"):
            baseline = asking.baseline(kind, image)
            spec = explain_spec_pb2.ExplainSpec(baselines=[baseline])
            assert has_images(pb.ExplainRequest(inputs=[numbers]), model, spec)


def test_numbers_that_people_type_cost_more_than_their_bytes() -> None:
    model = served()[0]

    def seconds(*inputs: tensor_pb2.Tensor) -> float:
        request = pb.PredictRequest(inputs=inputs)
        nbytes = len(request.SerializeToString())
        return ReadingCost.of_prediction(request, model, nbytes, PIXELS).seconds

    rows = np.ones((64, 3), np.float32)
    assert seconds(typed(*rows.tolist())) > 10 * seconds(tensor(rows))
    assert not is_plain(typed([1.0, 2.0, 3.0]))
    assert is_plain(tensor(rows))


def test_targets_and_examples_that_are_explained_alone_cost() -> None:
    model = served()[0]
    rows = np.ones((64, 3), np.float32)

    def seconds(**fields: Any) -> float:
        request = asking.explain(rows, **fields)
        question = ResolvedQuestions().of(request, model)
        return ReadingCost.of_explanation(request, model, question, 1000, PIXELS).seconds

    alone = [explain_spec_pb2.Baseline(tensor=tensor(rows))]
    one, many = [index(1)], [index(1)] * 100
    assert seconds(targets=many) > seconds(targets=one) + 99 * TARGET_SECONDS / 2
    assert seconds(targets=one, baselines=alone) > 32 * seconds(targets=one)
