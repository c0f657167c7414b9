"""A server with workers, for faults."""

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import grpc

from adcaptum.v1 import (
    repository_service_pb2 as pb,
    repository_service_pb2_grpc as pb_grpc,
)
from tests.faults import repository
from tests.integration.conftest import Server

MOST_BYTES = 6 << 30
"""The most memory that a process of the server may allocate."""


@contextmanager
def running(
    *options: str, workers: int | None = 2, models: Sequence[str] = ("good", "bad")
) -> Iterator[Server]:
    """Gives a server; it must end well.

    Args:
        options: Further settings.
        workers: The number of its workers; None: one process does everything.
        models: The names of its models.
    """
    with tempfile.TemporaryDirectory() as folder:
        repository.write(Path(folder), models)
        command = [sys.executable, "-m", "adcaptum.service", "--repository", folder]
        command += ["--port", "0", "--http_port", "0", *options]
        command += [] if workers is None else ["--workers", str(workers)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        # No model that allocates for ever takes the machine with it; workers inherit the limit.
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        server = Server(process)
        reader = threading.Thread(target=server.read)
        reader.start()
        try:
            line = server.wait_for("ready", 120)
            server.address, server.http_address = line["grpc"], line["http"]
            yield server
            assert server.stop(60) == 0
        finally:
            process.kill()
            reader.join()
            assert process.stderr is not None
            process.stderr.close()


def workers_of(server: Server) -> list[pb.Worker]:
    """Returns the workers of a server."""
    with grpc.insecure_channel(server.address) as channel:
        stub = pb_grpc.RepositoryServiceStub(channel)
        return list(stub.ListWorkers(pb.ListWorkersRequest()).workers)


def wait_until_ready(server: Server, seconds: float = 120) -> None:
    """Waits until all workers serve."""
    end = monotonic() + seconds
    while any(each.state != pb.WORKER_STATE_READY for each in workers_of(server)):
        assert monotonic() < end, workers_of(server)
        sleep(0.1)
