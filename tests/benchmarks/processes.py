"""The servers and load generators as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

import psutil

from adcaptum.service.authoring.model_folder import ModelFolder
from tests.benchmarks import models
from tests.benchmarks.load import Load, Served
from tests.benchmarks.subjects import REPOSITORY, load_subject

_ENVIRONMENT = {
    **os.environ,
    # Whatever the caller runs is what is measured.
    "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    "ADCAPTUM_ALLOWED_PACKAGES": "tests.benchmarks",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        name: For the tables.
        address: Where it listens.
        process: Its process.
        about: What it said when it was ready.
    """

    name: str
    address: str
    process: psutil.Process
    about: dict[str, object]

    def cpu_seconds(self) -> float:
        """What it has used so far, all threads."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def our_server(
    repository: Path, *, module: str = "adcaptum.service.cli", **settings: str
) -> Iterator[Server]:
    """Runs `adcaptum serve` until the block ends.

    Args:
        repository: The models.
        module: The module that is the command line.
        **settings: Further environment variables.
    """
    command = [
        sys.executable, "-m", module, "serve", str(repository), "--port", "0",
        "--http-port", "0", "--log-level", "info",
    ]  # fmt: skip
    # Threads are the server's to choose.
    environment = {k: v for k, v in _ENVIRONMENT.items() if k != "OMP_NUM_THREADS"} | settings
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as process,
    ):
        assert process.stderr is not None
        # A pipe that nobody reads fills up, and whoever writes to it stops.
        reader = Thread(target=log.writelines, args=(process.stderr,))
        try:
            for line in process.stderr:
                log.write(line)
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "ready":
                    reader.start()
                    yield Server("adcaptum", event["grpc"], psutil.Process(process.pid), event)
                    break
            else:
                log.seek(0)
                raise RuntimeError(f"the server did not start:\n{log.read()}")
        finally:
            process.terminate()
            if reader.ident is not None:
                reader.join()


@contextmanager
def naive_server(repository: Path) -> Iterator[Server]:
    """Runs the naive server until the block ends."""
    with _plain_server("naive", "tests.benchmarks.naive_server", str(repository)) as server:
        yield server


@contextmanager
def echo_server() -> Iterator[Server]:
    """Runs the echo server until the block ends."""
    with _plain_server("echo", "tests.benchmarks.echo_server") as server:
        yield server


@contextmanager
def _plain_server(name: str, module: str, *arguments: str) -> Iterator[Server]:
    """Runs a module that prints its address and serves until it is killed."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_ENVIRONMENT, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            yield Server(name, address, psutil.Process(process.pid), {})
        finally:
            process.kill()


def start_load(load: Load) -> subprocess.Popen[str]:
    """Starts a load generator."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.load"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(load)))
    process.stdin.close()
    return process


def finish_load(process: subprocess.Popen[str]) -> Served:
    """Waits for a load generator."""
    assert process.stdout is not None
    with process:
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError("the load generator failed")
    return Served(**json.loads(said))


@contextmanager
def model_repository() -> Iterator[Path]:
    """A repository with cells, digits and the small ResNet."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        for name in ("cells", "digits"):
            (repository / name).symlink_to((REPOSITORY / name).resolve())
        _cnn().write(repository)
        yield repository


@contextmanager
def heavy_repository() -> Iterator[Path]:
    """A repository with the small ResNet and the transformer."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        _cnn().write(repository)
        _transformer().write(repository)
        yield repository


def _cnn() -> ModelFolder:
    view = load_subject("cnn").plain
    configuration = {
        "description": "A network of ResNet-18's shape, for benchmarks.",
        "factory": "tests.benchmarks.models:build",
        "inputs": [
            {
                "name": "pixels",
                "kind": "tensor",
                "datatype": "FP32",
                "shape": [-1, 3, 32, 32],
                "default_baseline": "black",
                "baselines": {"black": 0.0},
            }
        ],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10], "kind": "logits"}],
        "examples": {"file": "examples.safetensors"},
    }
    return ModelFolder(
        name="cnn",
        configuration=configuration,
        weights=models.build().state_dict(),
        measured="",
        tensors={"examples.safetensors": {"pixels": view.inputs}},
    )


def _transformer() -> ModelFolder:
    view = load_subject("transformer").plain
    tokens = view.inputs.shape[1]
    configuration = {
        "description": "A transformer of four layers, for benchmarks.",
        "factory": "tests.benchmarks.models:build_transformer",
        "inputs": [
            {
                "name": "ids",
                "kind": "tensor",
                "datatype": "INT64",
                "shape": [-1, tokens],
                "embedding": "embedding",
                "default_baseline": "zero",
                "baselines": {"zero": 0},
            }
        ],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2], "kind": "logits"}],
        "examples": {"file": "examples.safetensors"},
    }
    return ModelFolder(
        name="transformer",
        configuration=configuration,
        weights=models.build_transformer().state_dict(),
        measured="",
        tensors={"examples.safetensors": {"ids": view.inputs}},
    )
