"""A contributor who follows the page: its last file is a loader, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.integration.docs.pages import ROOT, blocks

PROGRAM = """
from pathlib import Path
import numpy as np
import torch
from adcaptum.service.models import checks, loading
from adcaptum.service.models.repository import stored_models

folder = Path("models/linear")
(folder / "1").mkdir(parents=True)
np.save(folder / "1/weights.npy", np.ones((2, 3), np.float32))
(folder / "model.toml").write_text('''
loader = "numpy_linear"
inputs = [{ name = "x", shape = [-1, 3] }]
outputs = [{ name = "y", shape = [-1, 2] }]
''')
stored = stored_models.open_model(folder)
loaded = loading.load(stored, stored.versions["1"], torch.device("cpu"))
assert checks.check(loaded).output_shape == (2,)
"""


def test_the_last_file_becomes_a_kind_of_model(tmp_path: Path) -> None:
    page = ROOT / "docs/how-to/write-a-loader.md"
    (code,) = (block.code for block in blocks(page) if block.title == "numpy_linear.py")
    copytree(
        ROOT / "service/adcaptum/service",
        tmp_path / "adcaptum/service",
        ignore=ignore_patterns("__pycache__"),
    )
    file = tmp_path / "adcaptum/service/models/loaders/numpy_linear.py"
    file.write_text(code, encoding="utf-8")
    others = [ROOT / "engine", ROOT / "clients/python"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [tmp_path, *others]))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
