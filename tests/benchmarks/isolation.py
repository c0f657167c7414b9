"""Isolation: predictions of one model while another one hangs, ends its worker, or comes and goes.

Both are models of `tests/faults`: `good` computes, `bad` does what the first number of a row says,
and is loaded and unloaded.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Final

import grpc

from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    model_pb2,
    repository_service_pb2 as repository_pb2,
    repository_service_pb2_grpc as repository_grpc,
)
from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served
from tests.benchmarks.processes import finish_load, start_load
from tests.benchmarks.tables import CONSOLE, duration, ratio, table
from tests.faults.load import row
from tests.faults.repository import DEEDS
from tests.faults.running import running, wait_until_ready
from tests.integration.conftest import Server

CLIENTS: Final = (1, 8)
SECONDS: Final = 4.0
ROUNDS: Final = 2
NEVER: Final = ("--quarantine_deaths", "1000", "--stuck_seconds", "3", "--admin_calls", "true")
"""The model stays in service, however often it ends workers, and hangs for 3 s at a time."""


class Isolation:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._rounds = 1 if quick else ROUNDS

    def run(self) -> None:
        """Measures and prints."""
        made = table(
            "Predictions of `good`, two workers, while `bad` is asked again and again",
            ("bad, clients", "predictions/s", "p50", "p99", "p99 over quiet"),
        )
        for clients in CLIENTS:
            quiet = 0.0
            for deed in LABELS:
                # A server of its own: a worker may still hang when `bad` has been left alone.
                with running(*NEVER) as server:
                    wait_until_ready(server)
                    with _asking(server, deed):
                        rounds = [_predictions(server, clients) for _ in range(self._rounds)]
                p99 = median(each.quantile(0.99) for each in rounds)
                quiet = quiet or p99
                made.add_row(
                    f"{LABELS[deed]}, {clients}",
                    f"{median(each.rate for each in rounds):.0f}",
                    duration(median(each.quantile(0.5) for each in rounds)),
                    duration(p99),
                    ratio(p99 / quiet),
                )
        CONSOLE.print(made)


LOADS: Final = "load"
LABELS: Final = {
    "": "quiet",
    "sleep": "hangs",
    "exit": "ends its worker",
    LOADS: "is loaded and unloaded",
}


def _predictions(server: Server, clients: int) -> Served:
    load = Load(server.address, requests.PREDICT, [_about("good", 0)], clients, 0.5, SECONDS)
    return finish_load(start_load(load))


def _about(model: str, seed: int, deed: str = "") -> str:
    return base64.b64encode(_predict(model, seed, deed).SerializeToString()).decode()


def _predict(model: str, seed: int, deed: str) -> pb.PredictRequest:
    first = DEEDS[deed] if deed else None
    return pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[row(seed, first)])


@contextmanager
def _asking(server: Server, deed: str) -> Iterator[None]:
    """Sends rows with a deed, one after another, each another one, until the block ends."""
    ended = threading.Event()

    def ask() -> None:
        with grpc.insecure_channel(server.address) as channel:
            if deed == LOADS:
                _load_and_unload(channel, ended)
                return
            predict: Callable[..., pb.PredictResponse]
            predict = pb_grpc.ExplanationServiceStub(channel).Predict
            seed = 0
            while not ended.is_set():
                seed += 1
                try:
                    predict(_predict("bad", seed, deed), timeout=30)
                except grpc.RpcError:
                    ended.wait(0.05)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask) if deed else None
        try:
            yield
        finally:
            ended.set()
    if asking is not None:
        asking.result()


def _load_and_unload(channel: grpc.Channel, ended: threading.Event) -> None:
    """Unloads `bad` and loads it again, until told to end."""
    stub = repository_grpc.RepositoryServiceStub(channel)
    bad = model_pb2.ModelRef(name="bad")
    while not ended.is_set():
        stub.UnloadModel(repository_pb2.UnloadModelRequest(model=bad), timeout=60)
        stub.LoadModel(repository_pb2.LoadModelRequest(model=bad, wait=True), timeout=60)
