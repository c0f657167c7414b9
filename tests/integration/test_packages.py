"""The wheel and the sdist, built and installed into clean environments.

The client is installed by pip with what it declares. For the extras, whose PyTorch is large, an
environment holds the wheel and links to the files of exactly those packages of the tests'
environment that the extra declares, and that these declare in turn: what is imported without being
declared is missing. Not checked: that every version in the declared ranges will do (`make matrix`
tries the oldest torch and gRPC), and pip's choice of a build of PyTorch.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIP_SECONDS = 120

EXPLAINS = """
import torch
from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.attr import Saliency
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 3)).eval()
question = Explicand.of(torch.randn(2, 4), target=[0, 2], baselines=0.0)
answer = explain(model, METHODS["integrated_gradients"](), question)
assert answer.completeness_error.max() < 1e-3, answer.completeness_error
assert Saliency(model).attribute(torch.randn(2, 4), target=1).shape == (2, 4)
print(len(METHODS), "methods")
"""

SERVES = """
import json, subprocess, sys
from pathlib import Path
import numpy as np, safetensors.torch, torch
from adcaptum.client import Client
mine = Path("models/mine")
(mine / "1").mkdir(parents=True)
(mine / "code").mkdir()
(mine / "code/network.py").write_text("import torch\\ndef build(): return torch.nn.Linear(4, 3)\\n")
safetensors.torch.save_file(torch.nn.Linear(4, 3).state_dict(), mine / "1/weights.safetensors")
(mine / "model.toml").write_text('''
factory = "network:build"
inputs = [{ name = "x", shape = [-1, 4] }]
outputs = [{ name = "scores", shape = [-1, 3], kind = "logits", labels = ["a", "b", "c"] }]
''')
command = [sys.executable, "-m", "adcaptum.service.cli", "serve", "models", "--port", "0"]
command += ["--http-port", "0"]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
    try:
        lines = (json.loads(line) for line in process.stderr)
        address = next(line["grpc"] for line in lines if line["event"] == "ready")
        with Client(address) as client:
            values = client.explain("mine", np.ones((1, 4)), methods="kernel_shap")
    finally:
        process.terminate()
        process.communicate()
print(values[0].attributions["x"].values.shape, process.returncode)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_the_wheel_has_every_package_with_its_types_and_nothing_else(
    built: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"adcaptum"}
    portions = {
        "_utils",
        "attr",
        "client",
        "engine",
        "metrics",
        "module",
        "robust",
        "service",
        "v1",
        "zoo",
    }
    assert {name.split("/")[1] for name in names if name.startswith("adcaptum/")} == portions
    for portion in portions:
        assert f"adcaptum/{portion}/py.typed" in names
    assert not any("test" in name or name.endswith(".pyc") for name in names)
    with tarfile.open(built[1]) as sdist:
        top = {name.split("/")[1] for name in sdist.getnames() if "/" in name}
    assert {"engine", "service", "clients", "proto", "tests", "docs", "LICENSE"} <= top


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_client_installs_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = environment(tmp_path, pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", str(built[0])]
    try:
        done = subprocess.run(
            install, capture_output=True, text=True, timeout=PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not bring the client's packages within {PIP_SECONDS} s")
    if done.returncode:
        pytest.skip(f"pip cannot bring the client's packages: {done.stderr[-300:]}")
    listed = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path)
    assert "torch" not in listed
    assert run(
        python,
        "-c",
        "import adcaptum.client as c; print(c.Client(), c.Explanation.__name__)",
        cwd=tmp_path,
    )
    with pytest.raises(subprocess.CalledProcessError) as raised:
        run(python, "-c", "import adcaptum.engine", cwd=tmp_path)
    assert "No module named 'torch'" in raised.value.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("extra", "program", "told"),
    [("engine", EXPLAINS, "methods"), ("service", SERVES, "(4,) 0")],
    ids=["engine", "service"],
)
def test_an_extra_declares_all_that_it_imports(
    extra: str, program: str, told: str, built: tuple[Path, Path], tmp_path: Path
) -> None:
    python = environment(tmp_path)
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    link(closure(built[0], extra), site)
    with zipfile.ZipFile(built[0]) as wheel:
        wheel.extractall(site)
    try:
        assert told in run(python, "-c", program, cwd=tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr)


def environment(folder: Path, *, pip: bool = False) -> Path:
    """Make a virtual environment and return its interpreter."""
    venv.create(folder / "env", with_pip=pip)
    return folder / "env/bin/python"


def run(python: Path, *arguments: str, cwd: Path) -> str:
    """Run an interpreter without what the tests' environment sets; return what it prints."""
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
    return done.stdout


def closure(wheel: Path, extra: str) -> set[str]:
    """Return the packages that an extra of the wheel declares, and those that they declare."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        text = opened.read(name).decode()
    own = [
        line.removeprefix("Requires-Dist: ")
        for line in text.splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    wanted = list(needed(own, {extra}))
    found: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        package = canonicalize_name(requirement.name)
        key = (package, frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        requires = own if package == "adcaptum" else metadata.requires(package) or []
        wanted += needed(requires, set(requirement.extras))
    return {package for package, _ in found} - {"adcaptum"}


def needed(requirements: list[str], extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements that hold on this machine with some extras."""
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras}):
            yield requirement


def link(packages: set[str], site: Path) -> None:
    """Link the files of packages of this environment into another."""
    own = Path(sysconfig.get_path("purelib"))
    for package in packages:
        for file in metadata.files(package) or []:
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            place = site / file
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(own / file)
