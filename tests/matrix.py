"""`make matrix`: the unit tests on other versions of Python, and on the oldest torch and gRPC.

Each cell is a virtual environment in build/matrix. A cell whose PyTorch pip can only have as a
build for CUDA (gigabytes) runs the tests that need no PyTorch, those of the client, and says so;
MATRIX_CUDA=1 installs it all the same. Not part of CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build/matrix"
PYTHONS = ("3.11", "3.12", "3.13")
TORCH = "torch==2.13.0"
SOURCES = ("engine", "service", "clients/python", ".")
EVERYTHING = ("tests/unit",)
CLIENT = ("tests/unit/client",)
CLIENT_TOOLS = (
    "grpcio-testing", "hypothesis", "matplotlib", "pillow", "psutil", "pytest", "pytest-asyncio",
    "pytest-timeout", "rich",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the matrix.

    Attributes:
        name: Its name.
        python: Its interpreter.
        torch: The PyTorch that it wants.
        pins: Further packages, pinned.
        overlay: Lay the pins over this environment's packages instead of installing all.
        tests: The tests to run.
    """

    name: str
    python: Path
    torch: str
    pins: tuple[str, ...] = ()
    overlay: bool = False
    tests: tuple[str, ...] = EVERYTHING


def cells() -> Iterator[Cell]:
    """Yield the cells: every Python that is found, the oldest torch, the oldest gRPC."""
    found = {version: path for version in PYTHONS if (path := interpreter(version)) is not None}
    for version, path in found.items():
        yield Cell(f"python {version}", path, TORCH)
    oldest = next(iter(found.values()), Path(sys.executable))
    yield Cell("oldest torch", oldest, declared("engine", "torch"))
    grpc = ("googleapis-common-protos", "grpcio", "grpcio-status", "protobuf")
    further = ("grpcio-health-checking", "grpcio-reflection")
    pins = (
        *(declared("", name) for name in grpc),
        *(declared("service", name) for name in further),
        declared("", "grpcio").replace("grpcio", "grpcio-testing"),
    )
    tests = ("tests/unit/client", "tests/unit/service", "tests/unit/cli")
    yield Cell("oldest gRPC", Path(sys.executable), TORCH, pins, overlay=True, tests=tests)


def interpreter(version: str) -> Path | None:
    """Return the interpreter of a version of Python: pyenv's, or the one on the path."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)
    on_path = shutil.which(f"python{version}")
    return next(iter(places), Path(on_path) if on_path else None)


def declared(extra: str, package: str) -> str:
    """Return a package at its oldest declared version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = project["optional-dependencies"][extra] if extra else project["dependencies"]
    (text,) = (text for text in texts if text.startswith(f"{package}>="))
    name, _, version = text.partition(">=")
    return f"{name}=={version}.0" if version.count(".") == 1 else f"{name}=={version}"


def run_cell(cell: Cell) -> str:
    """Set a cell up, run its tests, and return what came of it."""
    folder = FOLDER / cell.name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([cell.python, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    tests, note = cell.tests, ""
    if cell.overlay:
        pip(python, "install", "--no-deps", *cell.pins)
        below = [*(str(ROOT / source) for source in SOURCES), sysconfig.get_path("purelib")]
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "below.pth").write_text("\n".join(below) + "\n", encoding="utf-8")
    elif (needed := cuda(python, cell.torch)) and not os.environ.get("MATRIX_CUDA"):
        tests = CLIENT
        note = f" (the client only: {cell.torch} would bring {needed} packages of CUDA)"
        pip(python, "install", str(ROOT), *CLIENT_TOOLS)
    else:
        pip(python, "install", cell.torch)
        pip(python, "install", f"{ROOT}[all]", "--group", f"{ROOT}/pyproject.toml:test")
    path = os.pathsep.join(str(ROOT / source) for source in SOURCES)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return f"{lines[-1] if lines else done.stderr[-200:]}{note}"


def pip(python: Path, *arguments: str) -> None:
    """Run pip of an environment."""
    subprocess.run([python, "-m", "pip", "-qq", *arguments], check=True, cwd=ROOT)


def cuda(python: Path, torch: str) -> int:
    """Return how many packages of CUDA a PyTorch would bring."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", torch]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [each["metadata"]["name"] for each in json.loads(done.stdout)["install"]]
    return sum(name.startswith(("nvidia", "cuda")) for name in names)


def main(wanted: Sequence[str]) -> None:
    """Run the cells, or those whose names contain one of the arguments."""
    for cell in cells():
        if not wanted or any(word in cell.name for word in wanted):
            start = time.monotonic()
            print(f"{cell.name:14} ", end="", flush=True)
            try:
                told = run_cell(cell)
            except subprocess.CalledProcessError as error:
                told = f"could not be set up: {error}"
            print(f"{told} [{time.monotonic() - start:.0f} s]", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
