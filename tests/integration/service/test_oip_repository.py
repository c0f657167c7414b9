"""Models that come and go by calls of the Open Inference Protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.service.protocols.oip.wire.messages import message
from tests import life_models
from tests.integration.conftest import Start
from tests.integration.service import asking
from tests.integration.service.oip_calls import OipClient, arrays, infer_request

ROW = np.array([[1, 2]], np.float32)


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changing")
    life_models.write(folder, "scale")
    return folder


@pytest.fixture(scope="module")
def address(start_server: Start, changing: Path) -> str:
    return start_server(changing, ADCAPTUM_ADMIN_CALLS="true").address


@pytest.fixture(scope="module")
def oip(address: str) -> Iterator[OipClient]:
    with grpc.insecure_channel(address) as channel:
        yield OipClient(channel)


def factor(oip: OipClient, model: str = "scale", **fields: Any) -> float:
    return float(arrays(oip.infer(infer_request(model, ROW, "x", **fields)))["y"][0, 0])


def states(oip: OipClient, name: str) -> dict[str, str]:
    models = oip.call("RepositoryIndex").models
    return {each.version: each.state for each in models if each.name == name}


def test_a_model_is_loaded_changed_and_unloaded(oip: OipClient, changing: Path) -> None:
    folder = life_models.declare(changing, "new", aliases='stable = "1"')
    life_models.add_version(folder, "1", 3.0)
    assert states(oip, "new") == {}
    oip.call("RepositoryModelLoad", model_name="new")
    assert states(oip, "new") == {"1": "READY"}
    assert factor(oip, "new") == 3.0
    life_models.add_version(folder, "2", 4.0)
    oip.call("RepositoryModelLoad", model_name="new")
    assert factor(oip, "new") == 4.0
    assert (
        factor(oip, "new", model_version="1") == factor(oip, "new", model_version="@stable") == 3.0
    )
    assert "new:explain:saliency" in {each.name for each in oip.call("RepositoryIndex").models}
    request = infer_request("new:explain:saliency", ROW, "x", parameters={"target": 0})
    assert arrays(oip.infer(request))["attributions.x"][0, 0] == 4.0
    unload = oip_request("RepositoryModelUnload", model_name="new")
    unload.parameters["unload_dependents"].bool_param = False
    oip.send("RepositoryModelUnload", unload)
    assert {*states(oip, "new").values()} == {"UNAVAILABLE"}
    assert not oip.call("ModelReady", name="new").ready
    assert not oip.call("ModelReady", name="new:explain:saliency").ready
    for name in ("new", "new:explain:saliency"):
        for rpc in ("ModelMetadata", "ModelConfig", "ModelStatistics"):
            with pytest.raises(grpc.RpcError, match="new") as gone:
                oip.call(rpc, name=name)
            assert asking.reason(gone.value) == "MODEL_UNLOADED"
    with pytest.raises(grpc.RpcError) as gone:
        factor(oip, "new")
    assert asking.reason(gone.value) == "MODEL_UNLOADED"


def oip_request(rpc: str, **fields: Any) -> Any:
    return message(f"{rpc}Request")(**fields)


@pytest.mark.parametrize(
    ("rpc", "fields", "code", "text"),
    [
        ("Load", {"model_name": "none"}, "NOT_FOUND", "There is no model 'none'"),
        ("Unload", {"model_name": "none"}, "NOT_FOUND", "There is no model 'none'"),
        (
            "Load",
            {"model_name": "scale:explain:saliency"},
            "INVALID_ARGUMENT",
            "model_name: 'scale:explain:saliency': comes and goes with 'scale'",
        ),
        (
            "Load",
            {"model_name": "scale", "repository_name": "other"},
            "INVALID_ARGUMENT",
            "repository_name: 'other'; must be empty, there is one repository",
        ),
        (
            "Load",
            {"model_name": "scale", "parameters": {"config": "{}"}},
            "INVALID_ARGUMENT",
            "parameters.config: there is no such parameter. There are none.",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(
    oip: OipClient, rpc: str, fields: dict[str, Any], code: str, text: str
) -> None:
    options = fields.pop("parameters", {})
    request = oip_request(f"RepositoryModel{rpc}", **fields)
    for name, value in options.items():
        request.parameters[name].string_param = value
    with pytest.raises(grpc.RpcError) as refused:
        oip.send(f"RepositoryModel{rpc}", request)
    error: Any = refused.value
    assert error.code().name == code
    assert error.details().startswith(text)
    assert asking.details(error)["RequestInfo"].request_id
    assert factor(oip) > 0
