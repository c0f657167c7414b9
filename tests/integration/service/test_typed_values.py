"""Tensors as people type them: nested lists instead of bytes, in requests and answers."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_service_pb2 as pb, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    array,
    cells,
    digits,
    explain,
    explanations,
    mask,
    method,
    predict,
    typed,
)


def with_values(request: Any, *rows: Any) -> Any:
    request.inputs[0].CopyFrom(typed(*rows))
    return request


def values(message: tensor_pb2.Tensor) -> Any:
    assert message.WhichOneof("contents") == "values"
    return json_format.MessageToDict(message.values)


def test_typed_numbers_give_the_answer_of_their_bytes(stub: ExplanationServiceStub) -> None:
    x = np.round(cells(2), 1)
    spec = method("integrated_gradients")
    by_bytes = explanations(stub.Explain(explain(x, spec)))
    reply = stub.Explain(with_values(explain(x, spec), *x.astype(float).tolist()))
    for one, other in zip(explanations(reply), by_bytes, strict=True):
        wanted = array(other.attributions[0].values)
        got = one.attributions[0].values
        np.testing.assert_allclose(values(got), wanted, rtol=1e-4, atol=1e-5)
        assert (list(got.shape), got.datatype) == ([30], "FP32")
        assert one.output == pytest.approx(other.output, rel=1e-5)


def test_outputs_and_inputs_come_back_as_they_came(stub: ExplanationServiceStub) -> None:
    x = np.round(cells(2), 1)
    reply = stub.Predict(with_values(predict(x), *x.astype(float).tolist()))
    assert np.shape(values(reply.outputs[0])) == (2, 2)
    options = spec_pb2.OutputOptions(return_inputs=True, return_outputs=True)
    request = explain(x, method("saliency"), output=options)
    typed_reply = stub.Explain(with_values(request, *x.astype(float).tolist()))
    np.testing.assert_allclose(values(typed_reply.inputs[0]), x, rtol=1e-6)
    assert np.shape(values(typed_reply.outputs[0])) == (2, 2)
    assert stub.Explain(request).outputs[0].WhichOneof("contents") == "values"


def test_a_name_a_datatype_and_a_shape_may_be_said(stub: ExplanationServiceStub) -> None:
    request = with_values(predict(cells()), [1] * 30)
    request.inputs[0].name = "measurements"
    request.inputs[0].datatype = "FP32"
    request.inputs[0].shape.extend([1, 30])
    assert stub.Predict(request).outputs


def test_an_encoded_image_is_a_string(stub: ExplanationServiceStub) -> None:
    pixels = (digits()[0, 0] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    as_text = stub.Predict(with_values(predict(digits(), "digits"), text))
    as_pixels = stub.Predict(predict(pixels[None, :, :, None], "digits"))
    np.testing.assert_allclose(
        np.array(values(as_text.outputs[0])), array(as_pixels.outputs[0]), rtol=1e-3, atol=1e-4
    )


def test_baselines_and_masks_may_be_typed(stub: ExplanationServiceStub) -> None:
    spec = method("feature_ablation")
    groups = np.arange(30)[None] // 10
    plain = explain(
        cells(2),
        spec,
        baselines=[spec_pb2.Baseline(constant=2)],
        feature_masks=[mask(groups)],
    )
    by_hand = explain(
        cells(2),
        spec,
        baselines=[spec_pb2.Baseline(tensor=typed([2] * 30))],
        feature_masks=[spec_pb2.FeatureMask(tensor=typed(*groups.tolist()))],
    )
    one, other = (explanations(stub.Explain(each)) for each in (plain, by_hand))
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(
            array(mine.attributions[0].values),
            array(theirs.attributions[0].values),
            rtol=1e-4,
            atol=1e-5,
        )


def test_numbers_that_are_none_are_written_as_words(stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(with_values(predict(cells()), [3e38] * 30))
    assert {"NaN", "Infinity", "-Infinity"} & {str(each) for each in values(reply.outputs[0])[0]}
    assert "NaN or infinite" in reply.warnings[0]


def test_a_request_is_the_json_that_people_write(stub: ExplanationServiceStub) -> None:
    text = json.dumps(
        {
            "model": {"name": "cells"},
            "inputs": [{"values": [[round(float(each), 2) for each in cells()[0]]]}],
            "spec": {
                "methods": [
                    {"name": "lime", "params": {"n_samples": 400}},
                    {"name": "smooth_grad", "params": {"of": {"name": "input_x_gradient"}}},
                ],
                "targets": [{"label": "malignant"}, {"index": {"values": [1]}}],
                "baselines": [{"constant": 0}],
                "seed": 7,
            },
        }
    )
    reply = stub.Explain(json_format.Parse(text, pb.ExplainRequest()))
    answer = json_format.MessageToDict(reply, preserving_proto_field_name=True)
    lime, smooth = answer["results"]
    assert lime["method"]["params"]["n_samples"] == 400
    assert smooth["method"]["params"]["of"]["name"] == "input_x_gradient"
    assert [each["label"] for each in lime["explanations"]] == ["malignant", "benign"]
    assert [each["target"] for each in lime["explanations"]] == [0, 1]
    assert lime["explanations"][0]["index"] == [0]
    assert len(lime["explanations"][0]["attributions"][0]["values"]["values"]) == 30
    assert lime["explanations"][0]["attributions"][0]["values"]["shape"] == [30]
    assert answer["predictions"][0]["example"] == 0
