"""Small requests for small models: the price of a request, beside an echo and a naive server.

The load generator is a process of its own, on the last core alone; the servers may use all cores.
All servers answer in turns, so that whatever slows the machine slows all.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Final

import numpy as np
import torch

from adcaptum.client import Client
from adcaptum.engine import METHODS, Explicand, explain
from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served as Answers
from tests.benchmarks.processes import (
    Server,
    echo_server,
    finish_load,
    model_repository,
    naive_server,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import View, load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

MODELS: Final = ("cells", "digits")
METHOD_NAMES: Final = (
    "saliency", "integrated_gradients", "kernel_shap", "deep_lift", "gradient_shap",
)  # fmt: skip
MIXED: Final = "+".join(METHOD_NAMES)
PREDICT: Final = "predict"
CLIENTS: Final = (1, 8, 32, 128)
PACE: Final = 50.0
"""The requests a second of a client that lets servers sleep between them."""

BESIDE: Final = 8
"""The clients that explain beside one that predicts."""

LONE_SECONDS: Final = 2.0
"""The time of one measurement of a lone client."""

DISTINCT: Final = 64
"""The inputs of each kind, all of them different."""


class ServedSmall:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._rounds = 1 if quick else 5
        self._seconds = 1.0 if quick else 1.5
        self._clients = (1, 32) if quick else CLIENTS
        self._models = MODELS[:1] if quick else MODELS

    def run(self, models: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> None:
        """Measures and prints.

        Args:
            models: The models; empty: all.
            methods: The methods, or `predict`; empty: all, and all mixed.
        """
        with (
            model_repository() as repository,
            our_server(repository) as ours,
            naive_server(repository) as naive,
            echo_server() as echo,
        ):
            for name in models or self._models:
                check(ours, name)
                for kind in methods or (*METHOD_NAMES, MIXED, PREDICT):
                    self._measure(name, kind, (echo, naive, ours))
                    if kind == PREDICT:
                        self._measure_lone(name, (echo, naive, ours))

    def _measure(self, name: str, kind: str, servers: Sequence[Server]) -> None:
        columns = (
            "clients", "server", "answers/s", "p50", "p99", "server CPU", "of echo", "of naive",
        )  # fmt: skip
        made = table(f"{name}: {kind}", columns)
        path, asked = messages(name, kind)
        for clients in self._clients:
            figures: defaultdict[str, list[tuple[Answers, float]]] = defaultdict(list)
            for _ in range(self._rounds):
                for server in servers:
                    before = server.cpu_seconds()
                    answers = finish_load(start_load(self._load(server, path, asked, clients)))
                    spent = server.cpu_seconds() - before
                    figures[server.name].append((answers, spent / max(1, answers.calls)))
            # Ratios within a round: what slows the machine slows all servers of it.
            rates = {
                label: [answers.rate for answers, _ in rounds] for label, rounds in figures.items()
            }
            for label, rounds in figures.items():
                made.add_row(
                    str(clients),
                    label,
                    f"{median(rates[label]):.0f}",
                    duration(median(each.quantile(0.5) for each, _ in rounds)),
                    duration(median(each.quantile(0.99) for each, _ in rounds)),
                    duration(median(spent for _, spent in rounds)),
                    ratio(of(rates[label], rates["echo"])),
                    ratio(of(rates[label], rates["naive"])),
                )
        CONSOLE.print(made)

    def _measure_lone(self, name: str, servers: Sequence[Server]) -> None:
        """One client that predicts: at a rate, so that servers sleep; and beside explanations."""
        columns = ("beside", "server", "p50", "p99", "p50 of naive", "p99 of echo")
        made = table(f"{name}: {PREDICT}, one client", columns)
        path, asked = messages(name, PREDICT)
        beside, explained = messages(name, METHOD_NAMES[0])
        for label, pace in ((f"nobody, {PACE:.0f}/s", PACE), (f"{BESIDE} explain", 0.0)):
            found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
            for _ in range(self._rounds):
                for server in servers:
                    load = replace(self._load(server, path, asked, 1), seconds=LONE_SECONDS)
                    other = None
                    if not pace:
                        more = self._load(server, beside, explained, BESIDE)
                        other = start_load(replace(more, seconds=LONE_SECONDS + 1.0))
                    answers = finish_load(start_load(replace(load, pace=pace)))
                    if other is not None:
                        finish_load(other)
                    found[server.name].append((answers.quantile(0.5), answers.quantile(0.99)))
            for server in servers:
                halves, tails = zip(*found[server.name], strict=True)
                of_naive = of(halves, [each for each, _ in found["naive"]])
                of_echo = of(tails, [each for _, each in found["echo"]])
                made.add_row(
                    label,
                    server.name,
                    duration(median(halves)),
                    duration(median(tails)),
                    ratio(of_naive),
                    ratio(of_echo),
                )
        CONSOLE.print(made)

    def _load(self, server: Server, path: str, asked: list[str], clients: int) -> Load:
        last = max(os.sched_getaffinity(0))
        return Load(server.address, path, asked, clients, 0.5, self._seconds, core=last)


def of(own: Sequence[float], others: Sequence[float]) -> float:
    """The median over rounds of one server's rate over that of another."""
    return median(a / max(1e-9, b) for a, b in zip(own, others, strict=True))


def messages(name: str, kind: str) -> tuple[str, list[str]]:
    """The path of a kind's RPC, and its messages; those of several kinds alternate."""
    views = distinct(load_subject(name).smooth)
    if kind == PREDICT:
        return requests.PREDICT, [requests.predict(name, view) for view in views]
    methods = kind.split("+")
    return requests.EXPLAIN, [
        requests.explain(name, view, method) for view in views for method in methods
    ]


def distinct(view: View) -> list[View]:
    """The view of inputs that all differ."""
    random = torch.Generator().manual_seed(0)
    made = []
    for number in range(DISTINCT):
        place = number % len(view.inputs)
        noise = 0.05 * torch.randn(view.inputs[:1].shape, generator=random)
        inputs, targets = view.inputs[place : place + 1], view.targets[place : place + 1]
        made.append(replace(view, inputs=inputs + noise * inputs, targets=targets))
    return made


def check(server: Server, name: str) -> None:
    """Checks that the server gives the library's answers.

    Raises:
        AssertionError: One is another.
    """
    view = load_subject(name).smooth
    with Client(server.address) as client:
        for method in METHOD_NAMES:
            question = Explicand.of(
                view.inputs[:2], target=view.targets[:2].tolist(), baselines=view.baseline, seed=0
            )
            values = explain(view.model, METHODS[method](), question).values[0].numpy()
            answer = client.explain(
                name,
                view.inputs[:2].numpy(),
                methods=method,
                targets=view.targets[:2].numpy(),
                seed=0,
                cache="bypass",
            )
            for example, expected in enumerate(values):
                (found,) = (each.values for each in answer[example].attributions.values())
                size = np.abs(expected).max()
                np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * size)
