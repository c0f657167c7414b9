"""The client before a server that sends what was recorded, which it reads as long as v1 lives."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from adcaptum.client import Accepted, Client, Explanations, Progress, Result
from adcaptum.v1 import explanation_service_pb2 as pb
from tests.golden import exchange

SERVICE = "adcaptum.v1.ExplanationService"
IMAGE = b"a picture"


@contextmanager
def recorded(name: str) -> Iterator[tuple[dict[str, Any], Client]]:
    """A server of one exchange, and a client of it."""
    found = exchange.load(name)
    call = found["call"]
    kind = getattr(pb, f"{call}Response")
    replies = [json_format.ParseDict(each, kind()) for each in sent(found)]

    def unary(_: bytes, __: Any) -> Message:
        return replies[0]

    def stream(_: bytes, __: Any) -> Iterator[Message]:
        yield from replies

    handler: grpc.RpcMethodHandler[Any, Any] = (
        grpc.unary_stream_rpc_method_handler(stream, None, kind.SerializeToString)
        if call == "ExplainStream"
        else grpc.unary_unary_rpc_method_handler(unary, None, kind.SerializeToString)
    )
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        handlers = grpc.method_handlers_generic_handler(SERVICE, {call: handler})
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with Client(f"127.0.0.1:{port}", timeout=20) as client:
                yield found, client
        finally:
            server.stop(None).wait()


def sent(found: dict[str, Any]) -> list[Any]:
    return found.get("events") or [found["reply"]]


def named(call: str) -> list[str]:
    return [
        name
        for name in exchange.names()
        if (found := exchange.load(name))["call"] == call and "error" not in found
    ]


def check(got: Explanations, reply: dict[str, Any]) -> None:
    """Compares what the client read with what was sent."""
    assert got.request_id == reply["request_id"]
    assert [each.method.name for each in got.results] == [
        each["method"]["name"] for each in reply["results"]
    ]
    for result, wanted in zip(got.results, reply["results"], strict=True):
        failure = wanted.get("failure", {}).get("reason")
        assert (result.failure.reason if result.failure else None) == failure
        assert f"STOP_REASON_{result.stop_reason.name}" == wanted["stop_reason"]
        for one, other in zip(result.explanations, wanted.get("explanations", []), strict=True):
            assert (one.example, one.label) == (other["example"], other["label"])
            sent_values = [each["values"]["values"] for each in other.get("attributions", [])]
            for attribution, values in zip(one.attributions.values(), sent_values, strict=True):
                np.testing.assert_allclose(attribution.values, np.array(values), rtol=1e-5)
            assert (one.interactions is not None) == ("interactions" in other)


@pytest.mark.parametrize("name", named("Explain"))
def test_the_client_reads_recorded_explanations(name: str) -> None:
    with recorded(name) as (found, client):
        model = found["request"]["model"]["name"]
        inputs: Any = {"reviews": ["A gripping film."], "photos": [IMAGE]}.get(model)
        check(
            client.explain(model, np.zeros((1, 30)) if inputs is None else inputs), sent(found)[0]
        )


@pytest.mark.parametrize("name", named("ExplainStream"))
def test_the_client_reads_recorded_events(name: str) -> None:
    with recorded(name) as (found, client):
        accepted, *progress, last = client.explain_stream("cells", np.zeros((1, 30)))
        assert isinstance(accepted, Accepted)
        assert accepted.request_id == "golden"
        assert all(isinstance(each, Progress) for each in progress)
        assert isinstance(last, Result)
        check(last.explanations, sent(found)[-1]["result"])


@pytest.mark.parametrize("name", named("Predict"))
def test_the_client_reads_recorded_predictions(name: str) -> None:
    with recorded(name) as (found, client):
        (wanted,) = sent(found)[0]["predictions"]
        assert client.predict("cells", np.zeros((1, 30))).labels == (wanted["labels"][0]["label"],)


@pytest.mark.parametrize("name", named("GetModel"))
def test_the_client_reads_recorded_models(name: str) -> None:
    with recorded(name) as (found, client):
        (version,) = sent(found)[0]["model"]["versions"]
        model = client.model(found["request"]["model"]["name"]).default
        assert [each.name for each in model.presets] == [
            each["name"] for each in version["presets"]
        ]
        assert [each.name for each in model.layers] == [
            each["name"] for each in version.get("layers", [])
        ]
        assert model.accuracy == version["accuracy"]


def test_the_client_reads_a_recorded_server() -> None:
    with recorded("get_server") as (found, client):
        assert client.server().version == found["reply"]["version"]
