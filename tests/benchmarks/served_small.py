"""Small requests for small models: the price of a request, beside an echo and a naive server.

The load generator is a process of its own, on the last core alone; the servers may use all cores.
All servers answer in turns, so that whatever slows the machine slows all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import torch
from rich.table import Table

from adcaptum.client import Client
from adcaptum.engine import METHODS, Explicand, explain
from tests.benchmarks import requests
from tests.benchmarks.load import Load
from tests.benchmarks.measured_cells import BESIDE, LONE, Cell, Figures, MeasuredCells
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
CLIENTS: Final = (32, 1, 8, 128)
PACE: Final = 50.0
"""The requests a second of a client that lets servers sleep between them."""

OTHERS: Final = 8
"""The clients that explain beside one that predicts."""

WARM_UP_SECONDS: Final = 0.4
LONE_SECONDS: Final = 2.0
"""The time of one measurement of a lone client."""

DISTINCT: Final = 64
"""The inputs of each kind, all of them different."""


class ServedSmall:
    """The section."""

    def __init__(
        self, *, quick: bool, store: Path | None = None, seconds: float | None = None
    ) -> None:
        """Prepares it.

        Args:
            quick: Whether a minute has to do.
            store: Where what is measured is kept: a later run measures only what is not there.
            seconds: The time after which no further cell is begun; None: all are measured.
        """
        self._rounds = 1 if quick else 3
        self._clients = CLIENTS[:2] if quick else CLIENTS
        self._models = MODELS[:1] if quick else MODELS
        self._measured = MeasuredCells(store)
        self._end = inf if seconds is None else monotonic() + seconds

    def run(self, models: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> None:
        """Measures, and prints when all is measured.

        Args:
            models: The models; empty: all.
            methods: The methods, or `predict`; empty: all, and all mixed.
        """
        kinds = methods or (METHOD_NAMES[0], PREDICT, MIXED, *METHOD_NAMES[1:])
        lone = (LONE, BESIDE) if PREDICT in kinds else ()
        places = [
            (model, kind, clients)
            for clients in (*self._clients, *lone)
            for model in models or self._models
            for kind in ((PREDICT,) if clients in lone else kinds)
        ]
        missing = [place for place in places if place not in self._measured]
        if missing:
            self._measure_all(missing)
        left = sum(place not in self._measured for place in places)
        if left:
            CONSOLE.print(f"{len(places) - left} of {len(places)} cells are measured")
        else:
            self._print(places)

    def _measure_all(self, places: Sequence[tuple[str, str, int]]) -> None:
        """Measures cells, until the time is over."""
        with (
            model_repository() as repository,
            our_server(repository) as ours,
            naive_server(repository) as naive,
            echo_server() as echo,
        ):
            for model in {model: None for model, _, _ in places}:
                check(ours, model)
            for place in places:
                if monotonic() > self._end:
                    break
                rounds = [self._round(place, (echo, naive, ours)) for _ in range(self._rounds)]
                self._measured.add(Cell(*place, rounds))

    def _round(self, place: tuple[str, str, int], servers: Sequence[Server]) -> dict[str, Figures]:
        """Loads servers one after another."""
        model, kind, clients = place
        path, asked = messages(model, kind)
        beside, explained = messages(model, METHOD_NAMES[0])
        found = {}
        for server in servers:
            load = self._load(server, path, asked, clients)
            other = None
            if clients == BESIDE:
                more = self._load(server, beside, explained, OTHERS)
                other = start_load(replace(more, seconds=LONE_SECONDS + 1.0))
            before = server.cpu_seconds()
            answers = finish_load(start_load(load))
            spent = server.cpu_seconds() - before
            if other is not None:
                finish_load(other)
            found[server.name] = Figures(
                answers.rate,
                answers.quantile(0.5),
                answers.quantile(0.99),
                spent / max(1, answers.calls),
            )
        return found

    def _load(self, server: Server, path: str, asked: list[str], clients: int) -> Load:
        last = max(os.sched_getaffinity(0))
        lone = clients in (LONE, BESIDE)
        return Load(
            server.address,
            path,
            asked,
            1 if lone else clients,
            WARM_UP_SECONDS,
            LONE_SECONDS if lone else 1.0,
            core=last,
            pace=PACE if clients == LONE else 0.0,
        )

    def _print(self, places: Sequence[tuple[str, str, int]]) -> None:
        for model, kind in {(model, kind): None for model, kind, _ in places}:
            cells = [
                each
                for each in self._measured
                if (each.model, each.kind) == (model, kind)
                and (model, kind, each.clients) in places
            ]
            crowds = sorted([each for each in cells if each.clients > 0], key=attrgetter("clients"))
            CONSOLE.print(_crowd_table(f"{model}: {kind}", crowds))
            lone = [each for each in cells if each.clients < 0]
            if lone:
                CONSOLE.print(_lone_table(f"{model}: {kind}, one client", lone))


def _crowd_table(title: str, cells: Sequence[Cell]) -> Table:
    columns = (
        "clients", "server", "answers/s", "p50", "p99", "server CPU", "of echo", "of naive",
    )  # fmt: skip
    made = table(title, columns)
    for cell in cells:
        for server in cell.servers:
            made.add_row(
                str(cell.clients),
                server,
                f"{cell.middle(server, 'rate'):.0f}",
                duration(cell.middle(server, "half")),
                duration(cell.middle(server, "tail")),
                duration(cell.middle(server, "cpu")),
                ratio(cell.over(server, "echo", "rate")),
                ratio(cell.over(server, "naive", "rate")),
            )
    return made


def _lone_table(title: str, cells: Sequence[Cell]) -> Table:
    """One client that predicts: at a rate, so that servers sleep; and beside explanations."""
    made = table(title, ("beside", "server", "p50", "p99", "p50 of naive", "p99 of echo"))
    for cell in cells:
        for server in cell.servers:
            made.add_row(
                f"nobody, {PACE:.0f}/s" if cell.clients == LONE else f"{OTHERS} explain",
                server,
                duration(cell.middle(server, "half")),
                duration(cell.middle(server, "tail")),
                ratio(cell.over(server, "naive", "half")),
                ratio(cell.over(server, "echo", "tail")),
            )
    return made


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
