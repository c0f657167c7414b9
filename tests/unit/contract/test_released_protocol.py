"""This client and this server against the protocol of the last release, `proto/released.binpb`.

Additions are allowed: a request of this client that uses none is one of the last release, byte for
byte, and what a client of the last release sends and reads is understood on both sides.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from adcaptum.client import (
    AllTargets,
    Argmax,
    Background,
    Blur,
    Distribution,
    ExplainOptions,
    FeatureMask,
    Method,
    Neuron,
    Site,
    TopK,
)
from adcaptum.client.codec.replies import decode_explanations
from adcaptum.client.codec.requests import explain_request, predict_request
from adcaptum.service.rpc.messages import MessageReader
from adcaptum.v1 import explanation_service_pb2 as pb
from tests.golden import exchange

RELEASED = Path(__file__).parents[3] / "proto/released.binpb"
ROW = np.zeros((1, 3), np.float32)
OPTIONS: dict[str, Any] = {
    "alias": "stable",
    "preset": "exact",
    "on_deadline": "partial",
    "priority": "batch",
    "cache": "bypass",
    "methods": ["saliency", Method("smooth_grad", of=Method("lime", n_samples=3), stdev=0.5)],
    "targets": [1, "a", (0, 1), TopK(2), AllTargets(), Argmax(), Neuron("conv", (0, slice(1, 3)))],
    "baselines": {"a": 1.5, "b": "mean", "c": Blur(2.0), "d": Background(3), "e": ROW},
    "feature_masks": {"a": FeatureMask(np.zeros((1, 3), np.int64), ["all"])},
    "site": Site("layer", at_input=True, baselines=[0.5, Distribution(ROW)]),
    "through": Neuron("layer", 1),
    "max_rows": 9,
    "tolerance": 0.1,
    "channel_reduction": "sum",
    "max_features": 2,
    "datatype": "FP64",
    "return_inputs": True,
    "return_outputs": True,
    "return_predictions": False,
    "return_features": False,
    "max_labels": 3,
    "seed": 7,
    "deterministic": True,
}


def released(name: str) -> Any:
    """A message class of the last release."""
    files = descriptor_pb2.FileDescriptorSet.FromString(RELEASED.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"adcaptum.v1.{name}"))


def unknown(message: Any) -> list[str]:
    """The messages inside one that have fields which its protocol does not know."""
    found = [message.DESCRIPTOR.full_name] if len(UnknownFieldSet(message)) else []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = (
                value.values() if field.message_type.fields_by_name["value"].message_type else ()
            )
        else:
            inner = value if field.is_repeated else [value]
        for each in inner:
            found += unknown(each)
    return found


def test_a_request_with_every_option_is_one_of_the_last_release() -> None:
    assert set(OPTIONS) == set(ExplainOptions.__annotations__) - {"version", "spec"}
    request = explain_request("cells", ROW, cast("ExplainOptions", OPTIONS))
    old = released("ExplainRequest").FromString(request.SerializeToString(deterministic=True))
    assert unknown(old) == []
    assert json_format.MessageToDict(old) == json_format.MessageToDict(request)
    asked = predict_request("cells", ROW, version="1", alias=None, max_labels=2)
    assert unknown(released("PredictRequest").FromString(asked.SerializeToString())) == []


def test_this_server_reads_what_a_client_of_the_last_release_sends() -> None:
    request = explain_request("cells", ROW, cast("ExplainOptions", OPTIONS))
    old = released("ExplainRequest").FromString(request.SerializeToString(deterministic=True))
    reader = MessageReader.of(pb.ExplainRequest.FromString)
    assert reader.decode(old.SerializeToString(deterministic=True)) == request


@pytest.mark.parametrize(
    "name", [each for each in exchange.names() if "reply" in exchange.load(each)]
)
def test_a_client_of_the_last_release_reads_what_this_server_answers(name: str) -> None:
    found = exchange.load(name)
    response = json_format.ParseDict(found["reply"], getattr(pb, f"{found['call']}Response")())
    old = released(f"{found['call']}Response").FromString(response.SerializeToString())
    # What was added since is skipped; everything else is there.
    known = json_format.MessageToDict(old)
    whole = json_format.MessageToDict(response)
    assert known
    assert known.keys() <= whole.keys()
    if found["call"] == "Explain":
        again = pb.ExplainResponse.FromString(old.SerializeToString())
        assert [each.method.name for each in decode_explanations(again).results] == [
            each["method"]["name"] for each in found["reply"]["results"]
        ]
