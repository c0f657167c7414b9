"""A contributor who follows the page: its first block is a file of the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.integration.docs.pages import ROOT, blocks

PROGRAM = """
import torch
from adcaptum.engine import METHODS, Explicand, explain

question = Explicand.of(torch.ones(2, 4), target=1)
answer = explain(torch.nn.Linear(4, 3), METHODS["power_gradient"](power=2.0), question)
assert answer.values[0].shape == (2, 4)
"""


def test_the_first_block_becomes_a_method_of_the_registry(tmp_path: Path) -> None:
    page = ROOT / "docs/how-to/write-a-method.md"
    code = next(block.code for block in blocks(page) if block.language == "python")
    copytree(
        ROOT / "engine/adcaptum/engine",
        tmp_path / "adcaptum/engine",
        ignore=ignore_patterns("__pycache__"),
    )
    file = tmp_path / "adcaptum/engine/methods/gradients/power_gradient.py"
    assert str(file.relative_to(tmp_path)) in page.read_text(encoding="utf-8")
    file.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
