"""The examples run: the script, the notebook, the client in TypeScript."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pytest

from adcaptum.zoo.demo import server
from tests.integration.docs.pages import ROOT
from tests.unit.zoo.conftest import model_folder

__all__ = ["model_folder"]

EXAMPLES = ROOT / "docs/examples"
NPM_SECONDS = 90


@pytest.mark.slow
def test_the_pipeline_ranks_features() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "pipeline.py"], capture_output=True, text=True, check=True
    )
    first, *ranked = done.stdout.splitlines()
    assert float(first.removeprefix("accuracy ")) > 0.9
    weights = [float(line.split()[-1]) for line in ranked]
    assert len(weights) == 5
    assert weights == sorted(weights, reverse=True)


@pytest.mark.slow
# A kernel in a process of its own warns of the debugger and of its own event loop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "first_explanation.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = json.dumps([cell.outputs for cell in cells])
    assert "StopReason.CONVERGED" in printed


def test_the_notebook_is_kept_without_its_outputs() -> None:
    notebook = nbformat.read(EXAMPLES / "first_explanation.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_typescript_client_explains_a_text(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    project = tmp_path / "node"
    shutil.copytree(
        EXAMPLES / "node", project, ignore=shutil.ignore_patterns("node_modules", "build")
    )
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    try:
        done = subprocess.run(
            install, cwd=project, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not bring the packages within {NPM_SECONDS} s")
    if done.returncode:
        pytest.skip(f"npm cannot bring the packages: {done.stderr[-300:]}")
    subprocess.run([node, "node_modules/typescript/bin/tsc"], cwd=project, check=True)
    models = tmp_path / "models"
    models.mkdir()
    (models / "reviews").symlink_to(model_folder("reviews").resolve())
    with server(models) as addresses:
        done = subprocess.run(
            [node, "build/explain.js", addresses.grpc, str(ROOT / "proto")],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert 'integrated_gradients: why "positive"' in done.stdout
    assert "gripping" in done.stdout
