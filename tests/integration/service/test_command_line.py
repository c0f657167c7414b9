"""The command line before the real server: layers, neurons, background sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from adcaptum.client import Background, Client, Neuron, Site
from adcaptum.engine.methods import METHODS
from adcaptum.service.cli.app import app
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    cells,
    digits,
)

Run = Callable[..., Result]


@pytest.fixture
def run(server: Server) -> Run:
    """Runs a command."""

    def invoke(*words: str) -> Result:
        env = {"ADCAPTUM_ADDRESS": server.address, "COLUMNS": "100"}
        return CliRunner(env=env).invoke(app, words)

    return invoke


@pytest.fixture
def row(tmp_path: Path) -> str:
    np.save(tmp_path / "row.npy", cells())
    return str(tmp_path / "row.npy")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    np.save(tmp_path / "digit.npy", digits())
    return str(tmp_path / "digit.npy")


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    (method,) = json.loads(result.stdout)["results"]
    (explanation,) = method["explanations"]
    (attribution,) = explanation["attributions"]
    return np.array(attribution["values"]["values"])


def test_a_layers_map_is_printed_and_drawn(run: Run, picture: str, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    words = f"explain digits --npy {picture} --method grad_cam --layer features --png {path}"
    result = run(*words.split())
    assert result.exit_code == 0
    assert "grad_cam: why" in result.stdout
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_layer_is_compared_with_a_number(run: Run, row: str, server: Server) -> None:
    words = f"explain cells --npy {row} --method integrated_gradients --layer hidden@input"
    got = values(run(*words.split(), "--layer-baseline", "0.5", "--json"))
    with Client(server.address) as client:
        (expected,) = client.explain(
            "cells",
            cells(),
            methods="integrated_gradients",
            site=Site("hidden", at_input=True, baselines=0.5),
        )
    np.testing.assert_allclose(got, expected.attributions["relu_1"].values, rtol=1e-4, atol=1e-6)


def test_a_block_of_neurons_is_explained(run: Run, row: str, server: Server) -> None:
    words = f"explain cells --npy {row} --method saliency --neuron hidden:3..7 --json"
    got = values(run(*words.split()))
    with Client(server.address) as client:
        (expected,) = client.explain(
            "cells", cells(), methods="saliency", targets=Neuron("hidden", slice(3, 7))
        )
    np.testing.assert_allclose(got, expected.attributions["measurements"].values, rtol=1e-4)


def test_an_output_is_explained_through_a_neuron(run: Run, row: str, server: Server) -> None:
    words = f"explain cells --npy {row} --method neuron_conductance --target 1 --json"
    got = values(run(*words.split(), "--through", "hidden:3"))
    with Client(server.address) as client:
        (expected,) = client.explain(
            "cells",
            cells(),
            methods="neuron_conductance",
            targets=1,
            through=Neuron("hidden", 3),
        )
    np.testing.assert_allclose(
        got, expected.attributions["measurements"].values, rtol=1e-4, atol=1e-7
    )


def test_a_preset_is_a_question(run: Run, row: str, server: Server) -> None:
    got = values(run(*f"explain cells --npy {row} --preset quick --json".split()))
    with Client(server.address) as client:
        (expected,) = client.explain("cells", cells(), preset="quick")
    np.testing.assert_allclose(got, expected.attributions["measurements"].values, rtol=1e-4)
    listed = run("models").stdout
    assert "quick, exact" in listed


def test_an_error_ends_with_its_reason(run: Run, row: str) -> None:
    result = run(*f"explain cells --npy {row} --method saliencies".split())
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith("(METHOD_UNKNOWN)")
    assert "Did you mean 'saliency'" in result.stderr


def test_a_background_set_is_drawn_from(run: Run, row: str, server: Server, tmp_path: Path) -> None:
    mask = np.arange(30)[None] // 6
    np.save(tmp_path / "mask.npy", mask)
    words = f"explain cells --npy {row} --method shapley_values --baseline background:7 --json"
    got = values(run(*words.split(), "--feature-mask", str(tmp_path / "mask.npy")))
    with Client(server.address) as client:
        (expected,) = client.explain(
            "cells",
            cells(),
            methods="shapley_values",
            baselines=Background(7),
            feature_masks=mask,
        )
    np.testing.assert_allclose(got, expected.attributions["measurements"].values, rtol=1e-4)


def test_pairs_are_printed_as_a_matrix(run: Run, row: str, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.arange(30)[None] // 10)
    words = f"explain cells --npy {row} --method shapley_interactions"
    result = run(*words.split(), "--feature-mask", str(tmp_path / "mask.npy"))
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()[2:5]] == [
        ["1", "0"],
        ["2", "1"],
        ["3", "2"],
    ]


def test_a_layer_that_is_missing_is_told_with_some_that_there_are(run: Run, picture: str) -> None:
    result = run(*f"explain digits --npy {picture} --method grad_cam".split())
    assert result.exit_code == 1
    assert "grad_cam needs one: 'stem', 'middle', 'features'" in result.stderr


def test_every_method_is_listed(run: Run) -> None:
    listed = [line.split() for line in run("methods", "digits").stdout.splitlines()]
    assert METHODS.keys() <= {words[0] for words in listed if words}
