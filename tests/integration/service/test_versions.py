"""Versions and folders that cannot be served, beside those that can."""

import shutil
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Start
from tests.integration.service.asking import cells, predict, reason

READY, FAILED = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_FAILED


def test_what_cannot_be_served_stands_beside_what_can(
    start_server: Start, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "cells", tmp_path / "cells")
    (tmp_path / "cells" / "2").mkdir()
    (tmp_path / "cells" / "2" / "weights.safetensors").write_bytes(b"none")
    shutil.copytree(models / "cells", tmp_path / "cells:explain")
    server = start_server(tmp_path)
    broken = server.wait_for("a model does not load", model="cells", version="2")
    odd = server.wait_for("a model does not load", model="cells:explain")
    assert "is not of the form [A-Za-z0-9]" in str(odd["reason"])
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        good, bad = stub.ListModels(pb.ListModelsRequest()).models
        assert [(each.identity.version, each.state) for each in good.versions] == [
            ("1", READY),
            ("2", FAILED),
        ]
        assert good.versions[1].reason == broken["reason"]
        assert (bad.name, bad.versions[0].state) == ("cells:explain", FAILED)
        assert stub.Predict(predict(cells())).model.version == "1"
        for name, version in (("cells", "2"), ("cells:explain", "")):
            request = predict(cells(), name)
            if version:
                request.model.version = version
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert reason(caught.value) == "MODEL_FAILED"
        health = health_pb2_grpc.HealthStub(channel)
        reply = health.Check(health_pb2.HealthCheckRequest(service="cells"))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
