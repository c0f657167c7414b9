"""Triton's own client, in an environment of its own, against the server's port."""

import json
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from adcaptum.v1 import explain_spec_pb2 as spec_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.docs.pages import blocks
from tests.integration.other_environment import run
from tests.integration.service import asking
from tests.integration.service.asking import cells, index, method

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/venv-triton/bin/python"
PAGE = ROOT / "docs/how-to/open-inference-protocol.md"
ROWS = cells(2)

pytestmark = pytest.mark.skipif(
    not (PYTHON.parents[1] / ".installed").exists(),
    reason="no tritonclient in build/venv-triton: `make triton-client` installs it",
)


@pytest.fixture(scope="module")
def seen(server: Server) -> Any:
    script = str(ROOT / "tests/integration/triton_calls.py")
    return json.loads(run(PYTHON, script, server.address, given=json.dumps(ROWS.tolist())))


def test_the_client_finds_a_server_with_models_and_virtual_models(seen: Any) -> None:
    assert seen["live"] and seen["ready"]  # noqa: PT018
    assert seen["models"] == [True, True, False]
    assert seen["server"]["name"] == "adcaptum"
    assert {"cells", "digits", "cells:explain:saliency", "cells:explain:quick"} <= {*seen["index"]}
    outputs = {each["name"]: each for each in seen["metadata"]["outputs"]}
    assert outputs["attributions.measurements"]["shape"] == ["-1", "30"]
    config = seen["config"]["config"]
    assert config["max_batch_size"] == 256
    assert config["model_transaction_policy"]["decoupled"]


def test_its_numbers_are_those_of_the_servers_own_protocol(
    seen: Any, stub: ExplanationServiceStub
) -> None:
    predicted = stub.Predict(asking.predict(ROWS))
    logits = asking.array(predicted.outputs[0])
    assert_array_equal(seen["prediction"]["logits"], logits)
    assert list(seen["some"]) == ["target.label", "prediction.logits"]
    asked = method("integrated_gradients", n_steps=9)
    same: Any = {"deterministic": True, "cache": asking.BYPASS}
    expected = stub.Explain(asking.explain(ROWS, asked, target=index(1), **same))
    found = seen["explanation"]["attributions.measurements"]
    assert_array_equal(found, asking.attributions(expected))
    asked = method("integrated_gradients")
    budget = spec_pb2.Budget(tolerance=1e-3)
    expected = stub.Explain(asking.explain(ROWS, asked, budget=budget, **same))
    found = seen["streamed"]["a"]["attributions.measurements"]
    assert_array_equal(found, asking.attributions(expected))
    assert_array_equal(seen["streamed"]["c"]["logits"], logits)


def test_it_is_told_what_is_wrong(seen: Any) -> None:
    assert "There is no model 'cells:explain:no'" in seen["streamed"]["b"]
    code, text = seen["errors"]["model"]
    assert (code, text) == (
        "StatusCode.NOT_FOUND",
        "[request id: 7] There is no model 'sells'. Did you mean 'cells'?",
    )
    for name in ("trace", "log", "shared memory"):
        assert seen["errors"][name][0] == "StatusCode.UNIMPLEMENTED"
    (statistics,) = seen["statistics"]["model_stats"]
    assert int(statistics["inference_stats"]["success"]["count"]) >= 2


def test_the_page_runs(server: Server) -> None:
    (code,) = [block.code for block in blocks(PAGE) if block.language == "python"]
    code = code.replace("127.0.0.1:8500", server.address)
    shown = "print(why.as_numpy('attributions.measurements').shape, why.as_numpy('target.label'))"
    assert run(PYTHON, "-c", f"{code}\n{shown}").startswith("(2, 30) [b'")


def test_our_messages_are_the_clients_and_both_fit_in_one_program() -> None:
    """The messages of package `inference` can be registered only once in the common pool."""
    script = """
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2
from adcaptum.service.protocols.oip.wire.messages import POOL

file = POOL.FindFileByName("inference.proto")
theirs = {**service_pb2.DESCRIPTOR.message_types_by_name}
theirs |= model_config_pb2.DESCRIPTOR.message_types_by_name
# Of KServe's definition, and an enum that is a number here.
ours_alone = {"inference.ModelMetadataResponse.properties"}
numbers = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}
compared = 0

def compare(own, other):
    global compared
    for field in own.fields:
        if field.full_name in ours_alone:
            continue
        same = other.fields_by_name[field.name]
        assert (field.number, field.is_repeated) == (same.number, same.is_repeated), field.full_name
        kinds = {numbers.get(each.type, each.type) for each in (field, same)}
        assert len(kinds) == 1, field.full_name
        compared += 1
        if field.message_type is not None and field.message_type.name != "PropertiesEntry":
            assert field.message_type.name == same.message_type.name, field.full_name
            compare(field.message_type, same.message_type)

for name, own in file.message_types_by_name.items():
    compare(own, theirs[name])
kinds = model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"].values_by_name
for value in file.enum_types_by_name["DataType"].values:
    assert kinds[value.name].number == value.number, value.name
print(compared)
"""
    assert int(run(PYTHON, "-c", script, path=f"{ROOT}/service")) > 100
