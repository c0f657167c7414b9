"""A bad id, a model that breaks the device, and a killed worker: what becomes of the neighbours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import grpc
import numpy as np
import safetensors.torch
import torch

from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    model_pb2,
    repository_service_pb2 as repository_pb,
    repository_service_pb2_grpc as repository_grpc,
    tensor_pb2,
)
from tests.gpu.subjects import DEVICE, ON_GPU, tell

NEIGHBOURS: Final = 4
SECONDS: Final = 30.0
WORDS: Final = 50
BAD_ID: Final = 10_000

CODE: Final = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, ids):
        return self.last(self.embedding(ids).mean(1))

def build():
    return Words().eval()
"""

DECLARATION: Final = """
factory = "words:build"
[[inputs]]
name = "x"
kind = "tensor"
datatype = "INT64"
shape = [-1, 4]
{embedding}
[[outputs]]
name = "y"
shape = [-1, 3]
kind = "logits"
"""

TYPED: Final = ("OK", "UNAVAILABLE")
"""The ends of neighbours' calls that are as they should be; the second asks them to try again."""

MODELS: Final = {"declared": 'embedding = "embedding"', "undeclared": ""}
"""A model whose ids are checked before they reach the device, and one whose are not."""


def main() -> int:
    """Prints the ends of the bad calls, and of all others meanwhile."""
    lost = 0
    with _server() as address:
        for model in MODELS:
            before = _pids(address)
            with _neighbours(address) as ends:
                end = _predict(address, model, BAD_ID)
                sleep(1.0)
                recovery = _recovery(address, before if ON_GPU and model == "undeclared" else set())
                sleep(0.5)
            lost += sum(ends.values()) - sum(ends[each] for each in TYPED)
            tell(bad_id=model, answer=end, neighbours=dict(ends), recovery_seconds=recovery)
        pid = min(_pids(address))
        with _neighbours(address) as ends:
            os.kill(pid, signal.SIGKILL)
            recovery = _recovery(address, {pid})
            sleep(0.5)
        lost += sum(ends.values()) - sum(ends[each] for each in TYPED)
        tell(killed="a worker", neighbours=dict(ends), recovery_seconds=recovery)
    tell(lost=lost)
    return lost


@contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        command = [
            sys.executable, "-m", "adcaptum.service.cli", "serve", folder, "--port", "0",
            "--http-port", "0", "--workers", "2", "--device", DEVICE.type,
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        ready, address = threading.Event(), list[str]()
        reader = threading.Thread(target=_read, args=(process, ready, address))
        reader.start()
        try:
            if not ready.wait(60) or not address:
                raise RuntimeError("the server did not start")
            yield address[0]
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


def _read(process: subprocess.Popen[str], ready: threading.Event, address: list[str]) -> None:

    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "ready":
            address.append(event["grpc"])
            ready.set()
        elif '"error"' in line:
            print(line[:600].rstrip(), flush=True)
    ready.set()


def _write(folder: Path) -> None:
    torch.manual_seed(0)
    state = {
        "embedding.weight": torch.randn(WORDS, 8),
        "last.weight": torch.randn(3, 8),
        "last.bias": torch.randn(3),
    }
    for name, embedding in MODELS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (folder / name / "code").mkdir()
        (folder / name / "code" / "words.py").write_text(CODE)
        (folder / name / "model.toml").write_text(DECLARATION.format(embedding=embedding))
        safetensors.torch.save_file(state, version / "weights.safetensors")


def _predict(address: str, model: str, first: int) -> str:
    """Asks once; returns the status."""
    ids = np.array([[first, 1, 2, 3]], np.int64)
    given = tensor_pb2.Tensor(datatype="INT64", shape=ids.shape, data=ids.tobytes())
    request = pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[given])
    with grpc.insecure_channel(address) as channel:
        try:
            pb_grpc.ExplanationServiceStub(channel).Predict(request, timeout=SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


@contextmanager
def _neighbours(address: str) -> Iterator[Counter[str]]:
    """Asks the model `declared` without end meanwhile; gives the ends of the calls."""
    ends, over = Counter[str](), threading.Event()

    def ask(first: int) -> None:
        while not over.is_set():
            ends[_predict(address, "declared", first % WORDS)] += 1
            first += NEIGHBOURS

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(NEIGHBOURS)]
    for thread in threads:
        thread.start()
    try:
        yield ends
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _workers(address: str) -> list[repository_pb.Worker]:
    with grpc.insecure_channel(address) as channel:
        stub = repository_grpc.RepositoryServiceStub(channel)
        return list(stub.ListWorkers(repository_pb.ListWorkersRequest()).workers)


def _pids(address: str) -> set[int]:
    return {each.pid for each in _workers(address)}


def _recovery(address: str, gone: set[int]) -> float | None:
    """Returns the seconds until all workers serve, one of some processes replaced; None: never."""
    begin = monotonic()
    while monotonic() < begin + SECONDS:
        workers = _workers(address)
        ready = all(each.state == repository_pb.WORKER_STATE_READY for each in workers)
        if ready and not (gone and gone <= {each.pid for each in workers}):
            return round(monotonic() - begin, 2)
        sleep(0.05)
    return None


if __name__ == "__main__":
    sys.exit(main())
