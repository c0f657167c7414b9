"""Programs in an environment of their own, whose packages do not go with ours."""

import os
import subprocess
from pathlib import Path


def run(python: Path, *arguments: str, given: str = "", path: str = "") -> str:
    """Runs Python in an environment; returns what it prints.

    Args:
        python: The environment's Python.
        arguments: The program and its arguments.
        given: Its standard input.
        path: What else is on its path; empty for nothing.
    """
    process = subprocess.run(
        [python, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
