"""The JSON interface on the HTTP port: the same calls, answers and errors as over gRPC."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    model_pb2,
    repository_service_pb2 as repository_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from adcaptum.v1.repository_service_pb2_grpc import RepositoryServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import cells, typed

X = np.round(cells(2), 1).astype(float)
LIME = {"methods": [{"name": "lime", "params": {"n_samples": 200}}], "seed": 3}
LONG = {"methods": [{"name": "kernel_shap", "params": {"n_samples": 400_000}}]}


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.http_address}", timeout=60) as client:
        yield client


def inputs(rows: Any = X) -> list[dict[str, Any]]:
    return [{"values": rows.tolist()}]


def same(reply: httpx.Response, wanted: Message, *different: str) -> None:
    """Compares a reply with that of gRPC, but for its own facts."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    got = type(wanted)()
    json_format.ParseDict(reply.json(), got)
    for message in (got, wanted):
        for field in different:
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    assert got == wanted


OWN = ("timings", "request_id", "cache")


def test_predictions_are_those_of_grpc(http: httpx.Client, stub: ExplanationServiceStub) -> None:
    wanted = stub.Predict(
        pb.PredictRequest(
            model=model_pb2.ModelRef(name="cells"), inputs=[typed(*X.tolist())], max_labels=1
        )
    )
    body = {"inputs": inputs(), "max_labels": 1}
    for path in ("cells", "cells/versions/1", "cells/aliases/stable"):
        reply = http.post(f"/api/v1/models/{path}:predict", json=body)
        same(reply, pb.PredictResponse.FromString(wanted.SerializeToString()), *OWN)
        assert reply.json()["outputs"][0]["values"]


def test_data_comes_back_as_data_bit_for_bit(
    http: httpx.Client, stub: ExplanationServiceStub
) -> None:
    x = cells(3)
    raw = {
        "datatype": "FP32",
        "shape": list(x.shape),
        "data": base64.b64encode(x.tobytes()).decode(),
    }
    request = json_format.ParseDict(
        {"model": {"name": "cells"}, "inputs": [raw]}, pb.PredictRequest()
    )
    wanted = stub.Predict(request)
    reply = http.post("/api/v1/models/cells:predict", json={"inputs": [raw]})
    same(reply, wanted, *OWN)
    (output,) = reply.json()["outputs"]
    assert base64.b64decode(output["data"]) == wanted.outputs[0].data
    listed = http.post("/api/v1/models/cells:predict?tensors=values", json={"inputs": [raw]})
    numbers = np.array(listed.json()["outputs"][0]["values"], np.float32)
    assert numbers.tobytes() == wanted.outputs[0].data


@pytest.mark.parametrize("spec", [LIME, {"methods": [{"name": "integrated_gradients"}]}])
def test_explanations_are_those_of_grpc(
    http: httpx.Client, stub: ExplanationServiceStub, spec: dict[str, Any]
) -> None:
    body = {"inputs": inputs(), "spec": spec | {"deterministic": True}, "cache": 2}
    request = json_format.ParseDict(body | {"model": {"name": "cells"}}, pb.ExplainRequest())
    wanted = stub.Explain(request)
    same(http.post("/api/v1/models/cells:explain", json=body), wanted, *OWN)


def test_streams_are_events_or_lines(http: httpx.Client, stub: ExplanationServiceStub) -> None:
    body = {"inputs": inputs(), "spec": {"methods": [{"name": "kernel_shap"}]}}
    request = json_format.ParseDict(body | {"model": {"name": "cells"}}, pb.ExplainRequest())
    wanted = stub.Explain(request)
    path = "/api/v1/models/cells:explainStream"
    reply = http.post(path, json=body, headers={"x-request-id": "my-stream"})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-request-id"] == "my-stream"
    events = []
    for event in reply.text.strip().split("\n\n"):
        name, data = event.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    names = [name for name, _ in events]
    assert names[0] == "accepted"
    assert names[-1] == "result"
    assert set(names[1:-1]) <= {"accepted", "progress"}
    assert events[0][1]["request_id"] == "my-stream"
    got = json_format.ParseDict(events[-1][1], pb.ExplainResponse())
    assert got.results == wanted.results

    reply = http.post(path, json=body, headers={"accept": "application/x-ndjson"})
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [
        json_format.ParseDict(json.loads(line), pb.ExplainStreamResponse())
        for line in reply.text.splitlines()
    ]
    assert lines[-1].result.results == wanted.results


def test_errors_before_a_stream_are_statuses(http: httpx.Client) -> None:
    path = "/api/v1/models/cells:explainStream"
    reply = http.post(path, json={"inputs": inputs(), "spec": {"seed": -1}})
    assert reply.status_code == 400
    assert reply.json()["violations"][0]["field"] == "spec.seed"
    assert http.post(path, json={}, headers={"accept": "text/html"}).status_code == 406


def test_descriptions_are_those_of_grpc(
    http: httpx.Client, stub: ExplanationServiceStub, channel: grpc.Channel
) -> None:
    cells_ref = model_pb2.ModelRef(name="cells")
    same(http.get("/api/v1/server"), stub.GetServer(pb.GetServerRequest()))
    same(http.get("/api/v1/models"), stub.ListModels(pb.ListModelsRequest()))
    page = http.get("/api/v1/models?page_size=1&view=MODEL_VIEW_FULL")
    same(page, stub.ListModels(pb.ListModelsRequest(page_size=1, view=pb.MODEL_VIEW_FULL)))
    token = page.json()["next_page_token"]
    same(
        http.get("/api/v1/models", params={"page_size": 1, "page_token": token}),
        stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=token)),
    )
    same(http.get("/api/v1/models/cells"), stub.GetModel(pb.GetModelRequest(model=cells_ref)))
    for place, model in (
        ("versions/1", model_pb2.ModelRef(name="cells", version="1")),
        ("aliases/stable", model_pb2.ModelRef(name="cells", alias="stable")),
    ):
        wanted = stub.GetModel(pb.GetModelRequest(model=model))
        same(http.get(f"/api/v1/models/cells/{place}"), wanted)
    wanted_methods = stub.ListMethods(pb.ListMethodsRequest(model=cells_ref, page_size=3))
    same(http.get("/api/v1/methods?model=cells&page_size=3"), wanted_methods)
    workers = RepositoryServiceStub(channel).ListWorkers(repository_pb2.ListWorkersRequest())
    got = http.get("/api/v1/workers").json()["workers"]
    assert [each["id"] for each in got] == [each.id for each in workers.workers]


PREDICT = "/api/v1/models/cells:predict"


@pytest.mark.parametrize(
    ("path", "body", "expected", "field"),
    [
        (PREDICT, "{", (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, '{"inputs": [{"values": [NaN]}]}', (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, '{"inputs": [], "inputs": []}', (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, "[" * 100_000, (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, b"\xff\xfe\xfd", (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, f'{{"max_labels": {"9" * 5000}}}', (400, "REQUEST_UNREADABLE"), "request"),
        (PREDICT, "[]", (400, "FIELD_INVALID"), "request"),
        (PREDICT, '{"inputz": []}', (400, "FIELD_UNKNOWN"), "inputz"),
        (PREDICT, '{"inputs": [{"shap": []}]}', (400, "FIELD_UNKNOWN"), "inputs[0].shap"),
        (PREDICT, '{"model": {"name": "cells"}}', (400, "FIELD_INVALID"), "model"),
        (PREDICT, '{"inputs": [{"values": [[1]]}]}', (400, "FIELD_INVALID"), "inputs[0].shape"),
        (PREDICT, '{"inputs": [{"values": [1e999]}]}', (400, "FIELD_INVALID"), "inputs[0].values"),
        (PREDICT, '{"max_labels": 1.5}', (400, "FIELD_INVALID"), "max_labels"),
        (PREDICT + "?nope=1", "{}", (400, "FIELD_UNKNOWN"), "query.nope"),
        ("/api/v1/models/cellz:predict", "{}", (404, "MODEL_NOT_FOUND"), ""),
        ("/api/v1/models/cells/versions/9:explain", "{}", (404, "VERSION_NOT_FOUND"), ""),
        ("/api/v1/models/cells/aliases/no:explain", "{}", (404, "ALIAS_NOT_FOUND"), ""),
        (
            "/api/v1/models/cells:explain",
            '{"spec": {"methods": [{"name": "limes"}]}}',
            (400, "METHOD_UNKNOWN"), "spec.methods[0].name",
        ),
    ],
)  # fmt: skip
def test_errors_are_problems_with_reason_and_place(
    http: httpx.Client, path: str, body: str | bytes, expected: tuple[int, str], field: str
) -> None:
    headers = {"content-type": "application/json", "x-request-id": "wrong-one"}
    reply = http.post(path, content=body, headers=headers)
    problem = reply.json()
    assert (reply.status_code, problem["reason"]) == expected
    assert problem["status"] == reply.status_code
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == reply.headers["x-request-id"] == "wrong-one"
    assert problem["detail"]
    if field:
        assert problem["violations"][0]["field"] == field


def test_a_field_that_is_wrong_is_wrong_in_the_same_words_as_over_grpc(
    http: httpx.Client, stub: ExplanationServiceStub
) -> None:
    body = {"inputs": inputs(), "spec": {"methods": [{"name": "lime", "params": {"n": 1}}]}}
    request = json_format.ParseDict(body | {"model": {"name": "cells"}}, pb.ExplainRequest())
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request)
    reply = http.post("/api/v1/models/cells:explain", json=body)
    assert reply.json()["detail"] == caught.value.details()


def test_routes_answer_as_http_expects(http: httpx.Client) -> None:
    assert http.get(PREDICT).status_code == 405
    assert http.get(PREDICT).headers["allow"] == "POST"
    assert http.post("/api/v1/models").status_code == 405
    assert http.get("/api/v1/nothing").status_code == 404
    assert http.get("/api/v1/nothing").headers["content-type"] == "application/problem+json"
    head = http.head("/api/v1/server")
    assert (head.status_code, head.content) == (200, b"")
    for media, status in (("text/xml", 415), ("application/vnd.x+json", 400)):
        reply = http.post(PREDICT, content="{", headers={"content-type": media})
        assert reply.status_code == status
    # Without CORS nothing is said to other sites, and what a page can send unasked is refused.
    reply = http.get("/api/v1/server", headers={"origin": "https://evil.example"})
    assert not any(name.startswith("access-control") for name in reply.headers)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post(PREDICT, content="{}", headers=form).status_code == 400
    form["origin"] = "https://evil.example"
    assert http.post(PREDICT, content="{}", headers=form).status_code == 415


def test_a_deadline_is_kept(http: httpx.Client) -> None:
    body = {"inputs": inputs(X[:1]), "spec": LONG, "cache": "CACHE_POLICY_BYPASS"}
    path = "/api/v1/models/cells:explain"
    reply = http.post(path, json=body, headers={"grpc-timeout": "100m"})
    assert reply.status_code == 504
    assert reply.json()["reason"] in {"DEADLINE_PASSED", "DEADLINE_TOO_SHORT"}
    for wrong in ("2x", "-1S", "123456789S", "S"):
        reply = http.post(path, json=body, headers={"grpc-timeout": wrong})
        assert reply.status_code == 400
        assert reply.json()["violations"][0]["field"] == "grpc-timeout"


def runs(http: httpx.Client, rpc: str) -> bool:
    """Returns whether a call of a method is being served."""
    return any(
        line.startswith("adcaptum_requests_in_flight{")
        and f'rpc="{rpc}"' in line
        and float(line.rpartition(" ")[2]) > 0
        for line in http.get("/metrics").text.splitlines()
    )


@pytest.mark.timeout(60)
def test_a_client_that_goes_ends_the_computation(server: Server, http: httpx.Client) -> None:
    body = json.dumps({"inputs": inputs(X[:1]), "spec": LONG, "cache": "CACHE_POLICY_BYPASS"})
    host, port = server.http_address.rsplit(":", 1)
    for verb, rpc in (("explain", "Explain"), ("explainStream", "ExplainStream")):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"POST /api/v1/models/cells:{verb} HTTP/1.1\r\nHost: a\r\n"
                f"x-request-id: gone-{rpc}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if verb == "explainStream":
                assert b"accepted" in connection.recv(4096) + connection.recv(4096)
            else:
                while not runs(http, rpc):
                    pass
        server.wait_for("request", 30, rpc=rpc, code="CANCELLED", request_id=f"gone-{rpc}")


def test_bodies_are_bounded_before_they_are_read(server: Server) -> None:
    host, port = server.http_address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {1 << 40}\r\n\r\n{{".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
