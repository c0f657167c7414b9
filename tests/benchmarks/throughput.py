"""Throughput: rows a second by how many ask at once, and by how many rows each asks for."""

from __future__ import annotations

from typing import Final

from tests.benchmarks import requests
from tests.benchmarks.load import Load
from tests.benchmarks.machine import Limit, rows_per_second
from tests.benchmarks.processes import (
    Server,
    finish_load,
    model_repository,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, duration, table

MODELS: Final = ("cells", "digits", "cnn")
CONCURRENCIES: Final = (1, 8, 32, 128)
# Two rows of a path are its ends.
ROWS: Final = (1, 10, 50, 500)
WARM_UP: Final = 0.7
SECONDS: Final = 3.0
PATIENCE: Final = 0.5
"""A round of answers may take so much of the time at the raw limit, or its answers are too few."""


class Throughput:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._names = MODELS[:1] if quick else MODELS
        self._seconds = SECONDS / 2 if quick else SECONDS

    def run(self, names: tuple[str, ...] = ()) -> None:
        """Measures and prints.

        Args:
            names: The models; empty: all.
        """
        with model_repository() as repository, our_server(repository) as server:
            for name in names or self._names:
                if name in MODELS:
                    self._model(server, name)

    def _model(self, server: Server, name: str) -> None:
        limit = rows_per_second(name)
        made = table(
            f"{name}: raw limit {limit.all:.0f} gradient rows/s, {limit.processes} processes",
            ["rows a request", "clients", "answers/s", "p50", "p99", "rows/s", "of raw",
             "server CPU", "cores"],
        )  # fmt: skip
        for rows in [(each,) for each in ROWS] + [ROWS]:
            for clients in CONCURRENCIES:
                if clients >= len(rows):
                    made.add_row(*self._line(server, name, rows, clients, limit))
        CONSOLE.print(made)

    def _line(
        self, server: Server, name: str, rows: tuple[int, ...], clients: int, limit: Limit
    ) -> list[str]:
        mean = sum(rows) / len(rows)
        label = ", ".join(map(str, rows))
        if clients * mean > PATIENCE * self._seconds * limit.all:
            return [label, str(clients), *["-"] * 7]
        view = load_subject(name).smooth
        asked = [
            requests.explain(name, view, "saliency")
            if each == 1
            else requests.explain(name, view, "integrated_gradients", steps=each - 2)
            for each in rows
        ]
        load = Load(server.address, requests.EXPLAIN, asked, clients, WARM_UP, self._seconds)
        before = server.cpu_seconds()
        answers = finish_load(start_load(load))
        cpu = server.cpu_seconds() - before
        found = answers.rate * mean
        per_answer = cpu / max(1, answers.calls)
        return [
            label,
            str(clients),
            f"{answers.rate:.0f}",
            duration(answers.quantile(0.5)),
            duration(answers.quantile(0.99)),
            f"{found:.0f}",
            f"{found / limit.all:.0%}",
            duration(per_answer),
            f"{per_answer * answers.rate:.2f}",
        ]
