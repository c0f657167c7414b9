"""Served: the real server on loopback, against a naive one, an empty RPC and the rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import requests
from tests.benchmarks.crowded import Crowded
from tests.benchmarks.load import Load, Served as Answers, pooled
from tests.benchmarks.machine import rows_per_second
from tests.benchmarks.processes import (
    Server,
    finish_load,
    model_repository,
    naive_server,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

MODELS: Final = ("cells", "digits", "cnn")
ROWS: Final = {"saliency": 1, "integrated_gradients": 52}
CONCURRENCIES: Final = (1, 8, 32)
BACKGROUND: Final = 8
# Several times what the slowest answer takes with 32 clients.
SECONDS: Final = {"cells": 2.0, "digits": 2.0, "cnn": 5.0}

Label = tuple[str, str]
"""A method, or the echo, and a server."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one server and one load, over all rounds."""

    answers: Answers
    cpu_seconds: float

    @property
    def cpu_per_answer(self) -> float:
        """The server's CPU seconds per answer."""
        return self.cpu_seconds / max(self.answers.calls, 1)


class Served:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._names = MODELS[:1] if quick else MODELS
        self._rounds = 1 if quick else 2
        self._quick = quick
        self._seconds = 1.0

    def run(self, names: tuple[str, ...] = ()) -> None:
        """Measures and prints.

        Args:
            names: The models; empty: all.
        """
        with (
            model_repository() as repository,
            our_server(repository) as ours,
            naive_server(repository) as naive,
        ):
            CONSOLE.print(f"server ready: {ours.about}")
            for name in names or self._names:
                self._seconds = 1.0 if self._quick else SECONDS[name]
                limit = rows_per_second(name)
                CONSOLE.print(
                    f"{name}: raw gradient rows/s: {limit.one:.0f} by one thread in batches of "
                    f"{limit.batch}, {limit.all:.0f} by {limit.processes} processes at once"
                )
                self._explain(name, (ours, naive), limit.all)
                self._predict(name, (ours, naive))
                Crowded(ours, name, self._seconds).run()

    def _explain(self, name: str, servers: Sequence[Server], raw: float) -> None:
        ours, naive = servers
        columns = (
            "method, clients", "server", "explanations/s", "p50", "p99", "server CPU", "of echo",
            "of raw rows/s", "ours/naive",
        )  # fmt: skip
        made = table(f"{name}: explanations", columns)
        for clients in CONCURRENCIES:
            loads = {
                (method, server.name): (
                    server,
                    requests.EXPLAIN,
                    requests.explain(name, load_subject(name).smooth, method),
                )
                for method in ROWS
                for server in servers
            }
            loads["echo", ours.name] = (ours, requests.CHECK, requests.check())
            figures = self._rounds_of(loads, clients)
            echo = figures["echo", ours.name].answers.rate
            for (method, label), figure in figures.items():
                rate = figure.answers.rate
                explains = method in ROWS
                own = figures[method, ours.name].answers.rate
                made.add_row(
                    f"{method}, {clients}",
                    label,
                    f"{rate:.0f}",
                    duration(figure.answers.quantile(0.5)),
                    duration(figure.answers.quantile(0.99)),
                    duration(figure.cpu_per_answer),
                    f"{rate / echo:.0%}" if explains else "",
                    f"{rate * ROWS[method] / raw:.0%}" if explains else "",
                    ratio(own / rate) if label == naive.name else "",
                )
        CONSOLE.print(made)

    def _rounds_of(
        self, loads: Mapping[Label, tuple[Server, str, str]], clients: int
    ) -> dict[Label, Figure]:
        parts: defaultdict[Label, list[Answers]] = defaultdict(list)
        cpu: defaultdict[Label, float] = defaultdict(float)
        for _ in range(self._rounds):
            for label, (server, path, request) in loads.items():
                before = server.cpu_seconds()
                answers = finish_load(start_load(self._load(server, path, request, clients)))
                cpu[label] += server.cpu_seconds() - before
                parts[label].append(answers)
        return {label: Figure(pooled(parts[label]), cpu[label]) for label in loads}

    def _load(self, server: Server, path: str, request: str, clients: int) -> Load:
        return Load(server.address, path, [request], clients, _WARM_UP, self._seconds)

    def _predict(self, name: str, servers: Sequence[Server]) -> None:
        view = load_subject(name).smooth
        question = requests.predict(name, view)
        made = table(
            f"{name}: Predict, one client, beside {BACKGROUND} clients that explain",
            ("server", "beside", "predictions/s", "p50", "p99", "p99 over idle", "explanations/s"),
        )
        for server in servers:
            found: defaultdict[str, list[Answers]] = defaultdict(list)
            beside: defaultdict[str, list[Answers]] = defaultdict(list)
            for _ in range(self._rounds):
                for label in ("idle", *ROWS):
                    busy = None
                    if label in ROWS:
                        explain = requests.explain(name, view, label)
                        busy = start_load(self._load(server, requests.EXPLAIN, explain, BACKGROUND))
                    probe = start_load(self._load(server, requests.PREDICT, question, 1))
                    found[label].append(finish_load(probe))
                    if busy is not None:
                        beside[label].append(finish_load(busy))
            idle = pooled(found["idle"]).quantile(0.99)
            for label, parts in found.items():
                answers = pooled(parts)
                p99 = answers.quantile(0.99)
                made.add_row(
                    server.name,
                    label,
                    f"{answers.rate:.0f}",
                    duration(answers.quantile(0.5)),
                    duration(p99),
                    "" if label == "idle" else f"+{duration(max(p99 - idle, 0))}",
                    f"{pooled(beside[label]).rate:.0f}" if beside[label] else "",
                )
        CONSOLE.print(made)


_WARM_UP: Final = 0.5
