"""Few rows on heavy models: an image network and a transformer, beside the raw limit.

The raw limit is what bare loops do in as many processes as there are cores, with nobody beside
them, by the model in the layout that the server gives it. All servers answer in turns, so that
whatever slows the machine slows all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Final

import torch

from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served as Answers
from tests.benchmarks.machine import Limit, rows_per_second
from tests.benchmarks.processes import (
    Server,
    echo_server,
    finish_load,
    heavy_repository,
    naive_server,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import View, load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

MODELS: Final = ("cnn", "transformer")
IN_ITS_LAYOUT: Final = frozenset({"cnn"})
METHOD: Final = "saliency"
CLIENTS: Final = (1, 8, 32)
BACKGROUND: Final = 8
DISTINCT: Final = 64
"""The inputs, all of them different."""


class ServedHeavy:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._rounds = 1 if quick else 5
        self._seconds = 1.0 if quick else 2.0
        self._models = MODELS[:1] if quick else MODELS

    def run(self, models: tuple[str, ...] = ()) -> None:
        """Measures and prints.

        Args:
            models: The models; empty: all.
        """
        with (
            heavy_repository() as repository,
            our_server(repository) as ours,
            naive_server(repository) as naive,
            echo_server() as echo,
        ):
            for name in models or self._models:
                limit = rows_per_second(name, layout=name in IN_ITS_LAYOUT)
                self._explain(name, (echo, naive, ours), limit)
                self._predict(name, (naive, ours))

    def _explain(self, name: str, servers: Sequence[Server], limit: Limit) -> None:
        title = (
            f"{name}: {METHOD}; raw limit {limit.all:.0f}/s by {limit.processes} processes, "
            f"{limit.batch} rows a batch"
        )
        columns = (
            "clients", "server", "answers/s", "p50", "p99", "server CPU", "of raw", "of naive",
        )  # fmt: skip
        made = table(title, columns)
        asked = [requests.explain(name, view, METHOD) for view in distinct(name)]
        for clients in CLIENTS:
            figures: defaultdict[str, list[tuple[Answers, float]]] = defaultdict(list)
            for _ in range(self._rounds):
                for server in servers:
                    load = Load(
                        server.address, requests.EXPLAIN, asked, clients, 0.5, self._seconds
                    )
                    before = server.cpu_seconds()
                    answers = finish_load(start_load(load))
                    spent = server.cpu_seconds() - before
                    figures[server.name].append((answers, spent / max(1, answers.calls)))
            naive = [answers.rate for answers, _ in figures["naive"]]
            for label, rounds in figures.items():
                rates = [answers.rate for answers, _ in rounds]
                made.add_row(
                    str(clients),
                    label,
                    f"{median(rates):.0f}",
                    duration(median(each.quantile(0.5) for each, _ in rounds)),
                    duration(median(each.quantile(0.99) for each, _ in rounds)),
                    duration(median(spent for _, spent in rounds)),
                    ratio(median(rates) / limit.all),
                    ratio(median(a / max(1e-9, b) for a, b in zip(rates, naive, strict=True))),
                )
        CONSOLE.print(made)

    def _predict(self, name: str, servers: Sequence[Server]) -> None:
        made = table(
            f"{name}: Predict, one client, beside {BACKGROUND} clients that explain",
            ("server", "predictions/s", "p50", "p99", "explanations/s"),
        )
        views = distinct(name)
        explained = [requests.explain(name, view, METHOD) for view in views]
        predicted = [requests.predict(name, view) for view in views]
        found: defaultdict[str, list[tuple[Answers, Answers]]] = defaultdict(list)
        for _ in range(self._rounds):
            for server in servers:
                load = Load(server.address, requests.PREDICT, predicted, 1, 0.5, self._seconds)
                busy = start_load(
                    replace(load, path=requests.EXPLAIN, requests=explained, clients=BACKGROUND)
                )
                found[server.name].append((finish_load(start_load(load)), finish_load(busy)))
        for label, rounds in found.items():
            made.add_row(
                label,
                f"{median(each.rate for each, _ in rounds):.0f}",
                duration(median(each.quantile(0.5) for each, _ in rounds)),
                duration(median(each.quantile(0.99) for each, _ in rounds)),
                f"{median(beside.rate for _, beside in rounds):.0f}",
            )
        CONSOLE.print(made)


def distinct(name: str) -> list[View]:
    """The model's inputs, so changed that they all differ."""
    view = load_subject(name).plain
    random = torch.Generator().manual_seed(0)
    made = []
    for number in range(DISTINCT):
        place = number % len(view.inputs)
        order = torch.randperm(view.inputs.shape[-1], generator=random)
        made.append(
            replace(
                view,
                inputs=view.inputs[place : place + 1][..., order],
                targets=view.targets[place : place + 1],
            )
        )
    return made
