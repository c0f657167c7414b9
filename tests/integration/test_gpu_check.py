"""The GPU check on whatever device there is: each step ends well and prints its figures."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final

import pytest

from tests.gpu.__main__ import SECONDS, STEPS

BARE: Final = (
    "torch", "numpy", "grpcio", "prometheus-client", "pillow", "safetensors", "tokenizers", "typer",
    "rich", "uvloop", "scikit-learn", "pytest", "hypothesis",
)  # fmt: skip
"""What a bare GPU machine has, with what these need."""

IMPORTS: Final = """
import importlib, sys
from importlib.metadata import packages_distributions
from tests.gpu.__main__ import STEPS
steps = [f"tests.gpu.{step}" for step in STEPS]
ours = ["adcaptum.service." + name for name in ("server", "cli.app", "front.server", "worker")]
for name in (*steps, *ours, "pytest_asyncio", "pytest_timeout"):
    importlib.import_module(name)
owners = packages_distributions()
print(*{name for each in sys.modules for name in owners.get(each.partition(".")[0], ())})
"""
"""Prints the packages that the check and the server import."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_runs(step: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", step],
        env={**os.environ, "GPU_CHECK_OUT": str(out), "GPU_CHECK_PATIENCE": "3"},
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


def test_a_bare_machine_with_the_bundle_has_all_that_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True
    )
    imported = {_name(each) for each in done.stdout.split()} - {"adcaptum"}
    (listed,) = re.findall(
        r"^BUNDLE := (.*?[^\\])$", Path("Makefile").read_text(), re.DOTALL | re.MULTILINE
    )
    bundle = {_name(each) for each in listed.replace("\\", " ").split()}
    # rich imports attrs where it finds it, and uvicorn watchfiles.
    assert imported - bundle - _with_needs(BARE) - {"attrs", "watchfiles"} == set()
    assert {"structlog", "pydantic-settings", "uvicorn", "grpcio-status"} <= imported & bundle


def _with_needs(names: tuple[str, ...]) -> set[str]:
    """Returns packages with all that they need, as far as they are installed here."""
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue
        waiting += [
            _name(re.split(r"[^\w.-]", each)[0]) for each in needed if "extra ==" not in each
        ]
    return found


def _name(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
