"""The Open Inference Protocol before two workers: the same to the last bit, and the same errors."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service import asking
from tests.integration.service.asking import digits, method
from tests.integration.service.oip_calls import (
    OipClient,
    Parameter,
    arrays,
    infer_request,
    parameters,
)

SAME: dict[str, Parameter] = {"deterministic": True, "cache": "bypass"}

pytestmark = pytest.mark.one_process  # It has workers of its own.


@pytest.fixture(scope="module")
def fronted(start_server: Start, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("fronted")
    (folder / "digits").symlink_to(models / "digits")
    return start_server(folder, "--workers", "2")


@pytest.fixture(scope="module")
def channel(fronted: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(fronted.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def oip(channel: grpc.Channel) -> OipClient:
    return OipClient(channel)


@pytest.fixture(scope="module")
def own(channel: grpc.Channel) -> ExplanationServiceStub:
    return ExplanationServiceStub(channel)


def test_the_front_lives_and_lists(oip: OipClient) -> None:
    assert oip.call("ServerLive").live
    assert oip.call("ServerReady").ready
    listed = {each.name: each.state for each in oip.call("RepositoryIndex").models}
    assert listed["digits"] == listed["digits:explain:exact"] == "READY"


@pytest.mark.parametrize("explained_by", ["saliency", "deep_lift", "occlusion"])
def test_numbers_are_those_of_predict_and_explain(
    oip: OipClient, own: ExplanationServiceStub, explained_by: str
) -> None:
    images = digits(3, seed=len(explained_by))
    predicted = arrays(oip.infer(infer_request("digits", images)))["logits"]
    # The bytes that the front makes of the other one, and so the same worker.
    asked = asking.predict(images, "digits")
    asked.inputs[0].name = "pixels"
    expected = own.Predict(asked)
    assert_array_equal(predicted, asking.array(expected.outputs[0]))
    request = infer_request(f"digits:explain:{explained_by}", images, parameters=SAME)
    same: dict[str, Any] = {"deterministic": True, "cache": asking.BYPASS}
    question = asking.explain(images, method(explained_by), model="digits", **same)
    wanted = asking.attributions(own.Explain(question))
    assert_array_equal(arrays(oip.infer(request))["attributions.pixels"], wanted)
    (*_, last) = oip.stream(request)
    assert parameters(last.infer_response)["triton_final_response"]
    assert_array_equal(arrays(last.infer_response)["attributions.pixels"], wanted)


def test_images_may_be_encoded_or_pixels(oip: OipClient) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1) * 3
    stream = io.BytesIO()
    Image.fromarray(pixels[0, :, :, 0]).save(stream, "PNG")
    encoded = np.array([[stream.getvalue()]], object)
    ready = np.transpose(pixels, (0, 3, 1, 2)).astype(np.float32) / 255
    found = [
        arrays(oip.infer(infer_request("digits:explain:saliency", each, parameters=SAME)))
        for each in (pixels, encoded, ready)
    ]
    for each in found[1:]:
        # 0 to 255 is brought to 0 to 1 with other roundings.
        assert_allclose(each["attributions.pixels"], found[0]["attributions.pixels"], atol=1e-5)


def test_errors_come_through_the_front_as_they_are(oip: OipClient) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        oip.infer(infer_request("digits", digits()[:, :, :5], id="mine"))
    error: Any = refused.value
    assert error.details().startswith("[request id: mine] inputs[0].shape: [1, 1, 5, 8] has the")
    assert asking.details(error)["BadRequest"].field_violations[0].field == "inputs[0].shape"
    (reply,) = oip.stream(infer_request("digits", np.float32("nan") * digits(), id="s"))
    assert reply.error_message.startswith("[request id: s] raw_input_contents[0]: nan at element 0")


def test_statistics_are_those_of_the_front(oip: OipClient) -> None:
    oip.infer(infer_request("digits", digits(2)))
    (own,) = oip.call("ModelStatistics", name="digits").model_stats
    assert own.inference_stats.success.count >= 1
    assert own.inference_count >= 2
