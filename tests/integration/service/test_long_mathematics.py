"""A method whose own mathematics takes long, beside predictions of the same model."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service.asking import (
    explain,
    explanations,
    index,
    mask,
    method,
    predict,
    streaming,
)

pytestmark = pytest.mark.alone

CODE = """
from torch import nn

class Shapes(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16, 3),
        )
"""

DECLARATION = """
factory = "shapes_net:Shapes"
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 3, 32, 32]
[[outputs]]
name = "y"
shape = [-1, 3]
kind = "logits"
"""


@pytest.fixture(scope="module")
def shapes(start_server: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of one small network on pictures of 3,072 numbers, with one device thread."""
    folder = tmp_path_factory.mktemp("shapes")
    version = folder / "shapes" / "1"
    version.mkdir(parents=True)
    (version.parent / "code").mkdir()
    (version.parent / "code" / "shapes_net.py").write_text(CODE)
    (version.parent / "model.toml").write_text(DECLARATION)
    state = {
        "0.weight": torch.linspace(-1, 1, 108).view(4, 3, 3, 3),
        "0.bias": torch.zeros(4),
        "4.weight": torch.linspace(-1, 1, 48).view(3, 16),
        "4.bias": torch.zeros(3),
    }
    safetensors.torch.save_file(state, version / "weights.safetensors")
    # A regression of 12,544 rows and 3,072 features holds half a gigabyte, and several are made.
    room = ("--max_queue_bytes", str(4 << 30))
    return start_server(folder, "--device_threads", "1", "--intra_op_threads", "1", *room)


@pytest.fixture(scope="module")
def stub(shapes: Server) -> Iterator[ExplanationServiceStub]:
    with grpc.insecure_channel(shapes.address) as channel:
        yield ExplanationServiceStub(channel)


def picture(seed: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.random.default_rng(seed).uniform(0, 1, (1, 3, 32, 32)).astype(np.float32)


def lime(seed: int, **fields: Any) -> pb.ExplainRequest:
    return explain(picture(seed), method("lime"), model="shapes", target=index(0), **fields)


def test_a_prediction_is_answered_before_the_explanation_beside_it(
    stub: ExplanationServiceStub,
) -> None:
    streams: list[Any] = [stub.ExplainStream(streaming(lime(seed))) for seed in range(4)]
    for stream in streams:
        assert next(stream).HasField("accepted")
    # Until after the rows of the first rounds, whose fits take long.
    assert next(streams[0]).HasField("progress")
    for seed in range(5):
        assert stub.Predict(predict(picture(seed), "shapes"), timeout=30).outputs
    small = explain(picture(9), method("saliency"), model="shapes", target=index(0))
    assert explanations(stub.Explain(small, timeout=30))
    assert not any(stream.done() for stream in streams)
    for stream in streams:
        stream.cancel()
    # What nobody waits for makes room for what follows.
    grouped = explain(
        picture(10),
        method("lime"),
        model="shapes",
        target=index(0),
        feature_masks=[groups(512)],
    )
    assert explanations(stub.Explain(grouped, timeout=30))


def groups(size: int) -> spec_pb2.FeatureMask:
    """Puts so many neighbouring elements into one feature."""
    return mask(np.arange(3072).reshape(1, 3, 32, 32) // size)


def test_what_cannot_be_computed_in_time_is_refused_at_once(stub: ExplanationServiceStub) -> None:
    with pytest.raises(grpc.RpcError, match="s of computation for") as refused:
        stub.Explain(lime(20, on_deadline=pb.ON_DEADLINE_FAIL), timeout=3)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
