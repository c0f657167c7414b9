"""`make demo`, run as a newcomer would; tests/integration/docs runs the code of the pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.zoo.conftest import model_folder

__all__ = ["model_folder"]

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def repository(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A repository of the demo's three models."""
    folder = tmp_path_factory.mktemp("demo-models")
    for name in ("photos", "reviews", "cells"):
        (folder / name).symlink_to(model_folder(name).resolve())
    return folder


@pytest.mark.timeout(900)
def test_the_demo_explains_three_models_and_stops_its_server(
    repository: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "adcaptum.zoo.demo"]
    command += ["--models", str(repository), "--pictures", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    for words in (
        "tiger cat",
        "positive",
        "benign",
        "completeness error",
        "standard error",
        "grad_cam: why",
        "rows",
    ):
        assert words in done.stdout
    assert done.stdout.count("ms in all") == 7
    assert done.stdout.rstrip().endswith("the server has stopped")
    for picture in ("photos", "photos_layer", "reviews", "cells"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(PNG)
