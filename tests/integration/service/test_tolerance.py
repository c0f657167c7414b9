"""How exact an answer has to be, said instead of how many steps are taken."""

import json
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from adcaptum.service.cli.app import app
from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    BYPASS,
    array,
    digits,
    explain,
    explanations,
    index,
    method,
    streaming,
)


def asked(tolerance: float, name: str = "integrated_gradients", **budget: Any) -> pb.ExplainRequest:
    return explain(
        digits(2),
        method(name),
        model="digits",
        target=index(3),
        budget=spec_pb2.Budget(tolerance=tolerance, **budget),
    )


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_an_answer_is_as_exact_as_was_asked(stub: ExplanationServiceStub, tolerance: float) -> None:
    reply = stub.Explain(asked(tolerance))
    exact = stub.Explain(
        explain(
            digits(2),
            method("integrated_gradients", n_steps=2000),
            model="digits",
            target=index(3),
        )
    )
    assert reply.results[0].stop_reason == explanation_pb2.STOP_REASON_CONVERGED
    for one, truth in zip(explanations(reply), explanations(exact), strict=True):
        values, true = (array(each.attributions[0].values) for each in (one, truth))
        assert one.error.relative <= tolerance
        assert np.abs(values - true).sum() <= tolerance * np.abs(true).sum()
        assert not truth.error.HasField("relative")


def test_rows_that_do_not_suffice_are_the_reason_told(stub: ExplanationServiceStub) -> None:
    reply = stub.Explain(asked(1e-5, "rise", max_rows=300))
    assert reply.results[0].stop_reason == explanation_pb2.STOP_REASON_BUDGET
    assert reply.results[0].rows_used <= 300
    assert all(each.error.relative > 1e-5 for each in explanations(reply))


def test_a_tolerance_can_be_named_on_the_command_line(server: Server, tmp_path: Path) -> None:
    np.save(tmp_path / "digit.npy", digits())
    words = f"explain digits --npy {tmp_path / 'digit.npy'} --method integrated_gradients"
    run = CliRunner(env={"ADCAPTUM_ADDRESS": server.address, "COLUMNS": "100"})
    told = run.invoke(app, [*words.split(), "--tolerance", "0.05"])
    assert told.exit_code == 0, told.stderr
    assert "relative error about" in told.stdout
    written = run.invoke(app, [*words.split(), "--tolerance", "0.05", "--json"])
    (result,) = json.loads(written.stdout)["results"]
    (explanation,) = result["explanations"]
    assert explanation["error"]["relative"] <= 0.05


def test_rows_to_a_tolerance_are_foretold_ever_better(stub: ExplanationServiceStub) -> None:
    off = []
    for seed in range(6):
        request = asked(0.07, "rise")
        request.spec.seed, request.cache = seed, BYPASS
        accepted, *_, last = stub.ExplainStream(streaming(request))
        used = sum(result.rows_used for result in last.result.results)
        off.append(abs(log2(accepted.accepted.expected_rows / used)))
    assert max(off[3:]) < 2
