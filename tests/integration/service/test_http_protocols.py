"""KServe's protocol and the Open Inference Protocol on the HTTP port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import array, cells, explain, method, predict, typed

X = np.round(cells(2), 1)
ROWS = X.astype(float).tolist()
HEADER = "inference-header-content-length"


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.http_address}", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def wanted(stub: ExplanationServiceStub) -> Any:
    """The outputs over gRPC, of the same numbers."""
    request = predict(X)
    request.inputs[0].CopyFrom(typed(*ROWS))
    values = stub.Predict(request).outputs[0].values
    return [[each.number_value for each in row.list_value.values] for row in values.values]


def test_kserve_predicts_and_describes(http: httpx.Client, wanted: Any) -> None:
    assert http.get("/v1/models").json() == {"models": ["cells", "digits"]}
    assert http.get("/v1/models/cells").json() == {"name": "cells", "ready": True}
    reply = http.post("/v1/models/cells:predict", json={"instances": ROWS})
    assert reply.json()["predictions"] == wanted
    assert (reply.json()["model_name"], reply.json()["model_version"]) == ("cells", "1")
    by_name = [{"measurements": row} for row in ROWS]
    reply = http.post("/v1/models/cells:predict", json={"instances": by_name})
    assert reply.json()["predictions"] == wanted


def test_kserve_explains_each_instance(http: httpx.Client, stub: ExplanationServiceStub) -> None:
    spec = {"methods": [{"name": "saliency"}, {"name": "input_x_gradient"}]}
    reply = http.post("/v1/models/cells:explain", json={"instances": ROWS, "spec": spec})
    explanations = reply.json()["explanations"]
    for name in ("saliency", "input_x_gradient"):
        of_method = stub.Explain(explain(X, method(name))).results[0].explanations
        for example, own in enumerate(of_method):
            (found,) = [each for each in explanations[example] if each["method"]["name"] == name]
            got = np.array(found["attributions"][0]["values"]["values"], np.float32)
            np.testing.assert_allclose(got, array(own.attributions[0].values), rtol=1e-4, atol=1e-6)
            assert (found["example"], found["label"]) == (example, own.label)


def test_many_numbers_are_taken_where_no_datatype_is_given(
    http: httpx.Client, stub: ExplanationServiceStub
) -> None:
    x = np.repeat(X, 1100, 0)[:256]
    many = np.resize(np.round(np.arange(80_000) / 7, 2), (256, 313))
    assert many.size > 65_536
    # Of a wrong shape, which the model's own reader says: so they came to it as data.
    reply = http.post("/v1/models/cells:predict", json={"instances": many.tolist()})
    assert "[256, 313] has the wrong length" in reply.json()["error"]
    reply = http.post("/v1/models/cells:predict", json={"instances": x.astype(float).tolist()})
    outputs = array(stub.Predict(predict(x)).outputs[0])
    np.testing.assert_allclose(reply.json()["predictions"], outputs, rtol=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/models/cellz:predict", {"instances": ROWS}, 404, "There is no model 'cellz'"),
        ("/v1/models/cells:predict", {"instances": 3}, 400, "instances: 3; must be a list"),
        ("/v1/models/cells:predict", {"instances": []}, 400, "instances: empty; must have"),
        ("/v1/models/cells:predict", {"instance": []}, 400, "instance: unknown"),
        ("/v1/models/cells:predict", {"instances": [{"a": 1}, {"b": 1}]}, 400, "instances[1]"),
        ("/v1/models/cells:predict", [], 400, "request: a list; must be an object"),
        ("/v2/models/cellz/infer", {"inputs": []}, 404, "There is no model 'cellz'"),
        ("/v2/models/cells/infer", {"input": []}, 400, "'input' is unknown; there are id, inputs"),
        ("/v2/models/cells/infer", {"inputs": [{"name": 1}]}, 400, "inputs[0].shape: null"),
        (
            "/v2/models/cells/infer",
            {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [300]}]},
            400, "inputs[0].data: 300 at element 0 is no INT8",
        ),
        (
            "/v2/models/cells/infer",
            {"id": "7", "inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [3]}]},
            400, "[request id: 7] inputs[0].name",
        ),
        ("/v2/repository/index", {"ready": 1}, 400, "must be empty, or have ready"),
    ],
)  # fmt: skip
def test_errors_are_a_text(
    http: httpx.Client, path: str, body: Any, status: int, text: str
) -> None:
    reply = http.post(path, json=body)
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert text in reply.json()["error"]


def infer(**more: Any) -> dict[str, Any]:
    given = {"name": "measurements", "shape": [2, 30], "datatype": "FP32", "data": ROWS}
    return {"id": "mine", "inputs": [given], **more}


def test_oip_describes(http: httpx.Client) -> None:
    assert http.get("/v2").json()["name"] == "adcaptum"
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/cells", "/v2/models/cells/versions/1"):
        found = http.get(path).json()
        (given,) = found["inputs"]
        assert (given["name"], given["datatype"], given["shape"]) == (
            "measurements", "FP32", [-1, 30],
        )  # fmt: skip
        assert http.get(f"{path}/ready").json() == {"name": "cells", "ready": True}
        assert http.get(f"{path}/config").json()["name"] == "cells"
        assert http.get(f"{path}/stats").json()["model_stats"][0]["name"] == "cells"
    assert http.get("/v2/models/cellz").status_code == 404
    index = http.post("/v2/repository/index", json={"ready": True}).json()
    assert {"name": "cells", "version": "1", "state": "READY", "reason": ""} in index


def test_oip_infers_from_lists_and_from_bytes(http: httpx.Client, wanted: Any) -> None:
    reply = http.post("/v2/models/cells/versions/1/infer", json=infer()).json()
    (output,) = reply.pop("outputs")
    assert reply == {"model_name": "cells", "model_version": "1", "id": "mine"}
    assert output["shape"] == [2, 2]
    assert np.reshape(output["data"], (2, 2)).tolist() == wanted

    body = infer(outputs=[{"name": output["name"], "parameters": {"binary_data": True}}])
    tensor = X.astype(np.float32).tobytes()
    body["inputs"][0]["parameters"] = {"binary_data_size": len(tensor)}
    del body["inputs"][0]["data"]
    head = json.dumps(body).encode()
    answer = http.post(
        "/v2/models/cells/infer",
        content=head + tensor,
        headers={HEADER: str(len(head)), "content-type": "application/octet-stream"},
    )
    length = int(answer.headers[HEADER])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 16}
    got = np.frombuffer(answer.content[length:], np.float32).reshape(2, 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_oip_takes_the_models_name_in_the_body_too(http: httpx.Client) -> None:
    assert http.post("/v2/models/cells/infer", json=infer(model_name="cells")).status_code == 200
    refused = http.post("/v2/models/cells/infer", json=infer(model_name="digits"))
    assert refused.status_code == 400
    assert "model_name: 'digits'; the path names 'cells'" in refused.json()["error"]


def test_oip_explains_by_virtual_models(http: httpx.Client, stub: ExplanationServiceStub) -> None:
    reply = http.post("/v2/models/cells:explain:saliency/infer", json=infer()).json()
    outputs = {each["name"]: each for each in reply["outputs"]}
    own = stub.Explain(explain(X, method("saliency"))).results[0].explanations
    got = np.reshape(outputs["attributions.measurements"]["data"], (2, 30))
    for row, each in zip(got, own, strict=True):
        np.testing.assert_allclose(row, array(each.attributions[0].values), rtol=1e-5)
    assert outputs["target.label"]["data"] == [each.label for each in own]


@pytest.mark.parametrize(
    ("header", "text"),
    [("abc", "must be at most the length"), ("99999", "must be at most the length")],
)
def test_the_length_of_the_json_is_checked(http: httpx.Client, header: str, text: str) -> None:
    reply = http.post(
        "/v2/models/cells/infer", content=json.dumps(infer()), headers={HEADER: header}
    )
    assert reply.status_code == 400
    assert text in reply.json()["error"]
