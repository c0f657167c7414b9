"""The check of everything on a device: `python -m tests.gpu [STEP...]`.

Each step is a process of its own with its own time limit, and prints JSON lines; the runner adds
them to `build/gpu-check.jsonl` (or the file that GPU_CHECK_OUT names) as they come, so that a step
that hangs or a machine that is taken away loses nothing that was measured before. All steps
together take `SECONDS` at most (or GPU_CHECK_SECONDS). Without a CUDA device the steps run on the
processor, smaller: to know that they work; GPU_CHECK_PATIENCE multiplies their times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

STEPS: Final = {
    "ceilings": 30,
    "marked": 60,
    "precision": 75,
    "rates": 90,
    "plans": 45,
    "registry": 60,
    "mixed": 60,
    "memory": 45,
    "failures": 90,
    "served": 110,
}
"""The steps, in order, and how long each may take, in seconds."""

SECONDS: Final = 420.0
"""The time for all of them."""

LEAST_SECONDS: Final = 5
"""The least time for a step; with less left it is not begun."""


def main() -> int:
    """Runs the steps named on the command line, or all of them."""
    out = Path(os.environ.get("GPU_CHECK_OUT", "build/gpu-check.jsonl"))
    out.parent.mkdir(parents=True, exist_ok=True)
    patience = float(os.environ.get("GPU_CHECK_PATIENCE", "1"))
    end = perf_counter() + float(os.environ.get("GPU_CHECK_SECONDS", SECONDS * patience))
    failed = []
    with out.open("a") as file:
        for step in sys.argv[1:] or STEPS:
            begin = perf_counter()
            code = _run(step, file, int(min(STEPS[step] * patience, end - begin)))
            seconds = round(perf_counter() - begin, 1)
            _add(file, {"step": step, "exit": code, "seconds": seconds})
            if code:
                failed.append(step)
    print("failed:", ", ".join(failed) or "nothing")
    return len(failed)


def _run(step: str, file: Any, seconds: int) -> int | str:
    if seconds < LEAST_SECONDS:
        return "no time is left"
    command = [sys.executable, "-u", "-m", f"tests.gpu.{step}"]
    with subprocess.Popen(
        ["timeout", "--kill-after=5", str(seconds), *command],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                _add(file, {"step": step, **json.loads(line)})
            else:
                print(f"  [{step}] {line.rstrip()}", flush=True)
    return process.returncode


def _add(file: Any, record: dict[str, Any]) -> None:
    line = json.dumps(record)
    file.write(line + "\n")
    file.flush()
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
