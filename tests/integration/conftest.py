"""The real server, as a process of its own, on a repository with two of the bundled models."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub

ROOT = Path(__file__).parents[2]
MODELS = ("cells", "digits")


@dataclass
class Server:
    """A server that runs.

    Attributes:
        process: Its process.
        address: Where it speaks gRPC, as host:port.
        http_address: Where it speaks HTTP, as host:port.
        lines: What it has logged so far.
    """

    process: subprocess.Popen[str]
    address: str = ""
    http_address: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def read(self) -> None:
        """Reads the log until the process ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                try:
                    self.lines.append(json.loads(line))
                except json.JSONDecodeError:
                    self.lines.append({"event": "unreadable", "line": line})
                self._news.notify_all()
        with self._news:
            self.lines.append({"event": "ended"})
            self._news.notify_all()

    def wait_for(self, event: str, seconds: float = 60, **values: object) -> dict[str, Any]:
        """Waits for a line of the log."""
        wanted = {"event": event, **values}

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if wanted.items() <= line.items()), None)

        with self._news:
            self._news.wait_for(lambda: found() or self.lines[-1:] == [{"event": "ended"}], seconds)
            line = found()
        assert line is not None, f"no {wanted} in {self.lines}"
        return line

    def stop(self, seconds: float = 30) -> int:
        """Asks it to stop; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models that tests use, built if `make models` has not."""
    built = ROOT / "build" / "models"
    if not all((built / name / "model.toml").exists() for name in MODELS):
        built = tmp_path_factory.mktemp("built")
        only = [word for name in MODELS for word in ("--only", name)]
        command = [sys.executable, "-m", "adcaptum.zoo", "build", "--into", str(built), *only]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return built


@pytest.fixture(scope="session")
def repository(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with `cells` and `digits`."""
    folder = tmp_path_factory.mktemp("repository")
    for name in MODELS:
        (folder / name).symlink_to(models / name)
    return folder


@pytest.fixture(scope="session")
def start_server(pytestconfig: pytest.Config) -> Iterator[Start]:
    """Starts servers, which are stopped at the end."""
    workers = pytestconfig.getoption("workers")
    mode = ["--workers", str(workers)] if workers else []
    started: list[Server] = []
    readers: list[threading.Thread] = []

    def start(
        repository: Path, *options: str, ready: bool | None = True, **environment: str
    ) -> Server:
        # Until it is ready, or listens, or (None) not at all.
        command = [sys.executable, "-m", "adcaptum.service", "--repository", str(repository)]
        command += ["--port", "0", "--http_port", "0", *mode, *options]
        if "PYTHONPATH" in environment and "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "ADCAPTUM_READY_AFTER_SECONDS": "600",
                **environment,
            },
        )
        server = Server(process)
        started.append(server)
        reader = threading.Thread(target=server.read)
        reader.start()
        readers.append(reader)
        if ready is not None:
            line = server.wait_for("ready" if ready else "listening")
            server.address, server.http_address = line["grpc"], line["http"]
        return server

    yield start
    for server in started:
        try:
            server.stop()
        finally:
            server.process.kill()
    for reader in readers:
        reader.join()
    for server in started:
        assert server.process.stderr is not None
        server.process.stderr.close()


@pytest.fixture(scope="session")
def server(start_server: Start, repository: Path) -> Server:
    """A server that many tests share."""
    return start_server(repository)


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> ExplanationServiceStub:
    return ExplanationServiceStub(channel)
