"""What the READMEs promise, done as a newcomer would."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adcaptum.zoo import samples
from adcaptum.zoo.demo import server
from tests.unit.zoo.conftest import model_folder

__all__ = ["model_folder"]

ROOT = Path(__file__).parents[2]
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


def examples(readme: str) -> list[str]:
    """The Python examples of a README, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(), flags=re.DOTALL)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_examples_of_the_client_run(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = [code for code in examples("README.md") if "adcaptum.client" in code]
    scope: dict[str, Any] = {
        "image": samples.photograph()[None],
        "values": samples.measurements()[None],
        "groups": np.arange(30)[None] // 3,
    }
    monkeypatch.chdir(tmp_path)
    with server(repository) as address:
        for example in both:
            exec(example.replace("127.0.0.1:8500", address), scope)
    assert "gripping" in capsys.readouterr().out
    for picture in ("why.png", "where.png"):
        assert (tmp_path / picture).read_bytes().startswith(PNG)
    assert scope["pairs"][0].attributions["measurements"].values.shape == (10, 10)


def test_the_examples_of_the_engine_run() -> None:
    first, second, known, facade = examples("engine/README.md")
    scope: dict[str, Any] = {}
    exec(first, scope)
    assert "class MyGradient" in second
    exec(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from adcaptum.engine import *\n"
        f"{second}\nanswer = explain(model, MyGradient(power=2.0), question)",
        scope,
    )
    assert scope["answer"].values[0].shape == (2, 4)
    exec(known, scope)
    assert len(scope["memory"]) == 1
    exec(facade, {})


def test_the_examples_of_the_library_run() -> None:
    example = next(code for code in examples("README.md") if "adcaptum.engine" in code)
    layers: OrderedDict[str, nn.Module] = OrderedDict(layer4=nn.Linear(6, 6), last=nn.Linear(6, 4))
    scope: dict[str, Any] = {"model": nn.Sequential(layers), "inputs": torch.randn(2, 6)}
    exec(example, scope)
    assert scope["answer"].values[0].shape == (2, 6)
