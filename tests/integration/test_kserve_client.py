"""KServe's own clients, in an environment of their own, against the server's two ports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.other_environment import run
from tests.integration.service import asking
from tests.integration.service.asking import cells, index, method

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/venv-kserve/bin/python"
ROWS = cells(2)

pytestmark = pytest.mark.skipif(
    not (PYTHON.parents[1] / ".installed").exists(),
    reason="no kserve in build/venv-kserve: `make kserve-client` installs it",
)


@pytest.fixture(scope="module")
def seen(server: Server) -> Any:
    script = str(ROOT / "tests/integration/kserve_calls.py")
    addresses = server.address, server.http_address
    return json.loads(run(PYTHON, script, *addresses, given=json.dumps(ROWS.tolist())))


def test_its_numbers_over_grpc_are_those_of_the_servers_own_protocol(
    seen: Any, stub: ExplanationServiceStub
) -> None:
    assert seen["live"] and seen["ready"]  # noqa: PT018
    logits = asking.array(stub.Predict(asking.predict(ROWS)).outputs[0])
    assert_array_equal(seen["raw"]["logits"], logits)
    assert_array_equal(seen["typed"]["logits"], logits)
    same: Any = {"deterministic": True, "cache": asking.BYPASS}
    asked = method("integrated_gradients", n_steps=9)
    expected = stub.Explain(asking.explain(ROWS, asked, target=index(1), **same))
    found = seen["explanation"]["attributions.measurements"]
    assert_array_equal(found, asking.attributions(expected))


def test_it_is_told_what_is_wrong(seen: Any) -> None:
    assert seen["error"] == [
        "NOT_FOUND",
        "[request id: 7] There is no model 'sells'. Did you mean 'cells'?",
    ]


def test_its_numbers_over_http_are_those_of_the_servers_own_protocol(
    seen: Any, stub: ExplanationServiceStub
) -> None:
    assert [seen[name] for name in ("v1 ready", "v2 live", "v2 ready")] == [True] * 3
    logits = asking.array(stub.Predict(asking.predict(ROWS)).outputs[0])
    assert_array_equal(seen["v2"]["logits"], logits)
    assert_array_equal(np.float32(seen["v1"]["predictions"]), logits)
    expected = stub.Explain(asking.explain(ROWS))
    values = [
        each[0]["attributions"][0]["values"]["values"]
        for each in seen["v1 explain"]["explanations"]
    ]
    assert_allclose(values, asking.attributions(expected), rtol=1e-4, atol=1e-3)
