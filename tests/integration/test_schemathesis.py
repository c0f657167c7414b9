"""The OpenAPI document against the real server: every route takes and answers what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Server

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "build/venv-schemathesis/bin/schemathesis"
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.skipif(
    not PROGRAM.exists(),
    reason="no schemathesis in build/venv-schemathesis: `make http-check` installs it",
)
def test_schemathesis_finds_no_failure(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            PROGRAM, "--config-file", CONFIGURATION, "run",
            f"http://{server.http_address}/openapi.json",
            "--phases", "coverage,fuzzing", "--seed", "1", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "Failures" not in done.stdout
