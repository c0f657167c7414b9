"""The GPU check on whatever device there is: each step ends well and prints its figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.__main__ import SECONDS, STEPS


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_runs(step: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", step],
        env={**os.environ, "GPU_CHECK_OUT": str(out)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    *records, last = map(json.loads, out.read_text().splitlines())
    assert last == {"step": step, "exit": 0, "seconds": last["seconds"]}
    assert records
    assert all(record["step"] == step for record in records)


def test_a_step_that_has_no_time_left_is_not_begun(tmp_path: Path) -> None:
    out = tmp_path / "figures.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "served", "mixed"],
        env={**os.environ, "GPU_CHECK_OUT": str(out), "GPU_CHECK_SECONDS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    ends = [json.loads(line)["exit"] for line in out.read_text().splitlines()]
    assert ends == ["no time is left"] * 2


def test_all_steps_together_take_seven_minutes_at_most() -> None:
    assert SECONDS == 420
    assert max(STEPS.values()) < SECONDS
