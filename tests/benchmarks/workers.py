"""Workers: one process against worker processes under a front, and the hop between them.

All servers run at once and answer in turns, so that whatever slows the machine slows all.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
    tensor_pb2,
)
from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served as Answers
from tests.benchmarks.machine import limit_of_all_cores
from tests.benchmarks.processes import (
    Server,
    finish_load,
    model_repository,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import REPOSITORY, load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

MODELS: Final = ("cnn", "photos", "reviews")
ROWS: Final = {"saliency": 1, "integrated_gradients": 52}
CLIENTS: Final = (1, 8, 32)
WARM_UP: Final = 0.4
SECONDS: Final = 2.5
ROUNDS: Final = 2
MOST_SECONDS: Final = 10.0
"""Loads of which one round of answers takes longer at the raw limit are left out."""

LONG_SECONDS: Final = 0.2
"""Where a round takes longer than this, too few of them begin and end within the time."""

ONE: Final = "one process"
MODES: Final[Mapping[str, Mapping[str, str]]] = {
    ONE: {},
    "1 worker": {"ADCAPTUM_WORKERS": "1"},
    "2 workers": {"ADCAPTUM_WORKERS": "2"},
}
BESIDE: Final = "beside"
PIECES: Final = (*ROWS, BESIDE)
FIGURES: Final = Path("build/benchmarks/workers.jsonl")
HOPS: Final = (("cells", "predict"), ("digits", "saliency"), ("cnn", "integrated_gradients"))


@contextmanager
def only(name: str) -> Iterator[Path]:
    """A repository with one model."""
    with ExitStack() as stack:
        # The small ResNet is written into the repository.
        own = stack.enter_context(model_repository()) if name == "cnn" else REPOSITORY
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (repository / name).symlink_to((own / name).resolve())
        yield repository


@contextmanager
def all_modes(
    repository: Path, modes: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Server]]:
    """A server in each mode."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(our_server(repository, **environment))
            for name, environment in modes.items()
        }


class Hop:
    """The section on the hop: how much longer a request takes through a front."""

    def __init__(self, *, quick: bool) -> None:
        self._rounds = 2 if quick else 5
        self._seconds = 1.0

    def run(self) -> None:
        """Measures and prints."""
        made = table(
            "One client: one process against a front with one worker",
            ("request", "one process p50", "p99", "front p50", "p99", "overhead", "of one process",
             "front CPU"),
        )  # fmt: skip
        modes = {name: MODES[name] for name in (ONE, "1 worker")}
        with model_repository() as repository, all_modes(repository, modes) as servers:
            for model, method in HOPS:
                path, asked = request(model, method)
                found: defaultdict[str, list[Answers]] = defaultdict(list)
                cpu, calls = 0.0, 0
                for _ in range(self._rounds):
                    for name, server in servers.items():
                        before = server.cpu_seconds()
                        load = Load(server.address, path, [asked], 1, WARM_UP, self._seconds)
                        found[name].append(finish_load(start_load(load)))
                        if name != ONE:
                            # Of the front alone, which is the server's first process.
                            cpu += server.cpu_seconds() - before
                            calls += found[name][-1].calls
                own, front = found[ONE], found["1 worker"]
                quantiles = [
                    median(each.quantile(q) for each in answers)
                    for answers in (own, front)
                    for q in (0.5, 0.99)
                ]
                overhead = quantiles[2] - quantiles[0]
                made.add_row(
                    f"{method} on {model}",
                    *map(duration, quantiles),
                    f"{overhead * 1e6:.0f} µs",
                    f"{overhead / quantiles[0]:.0%}",
                    f"{cpu / max(1, calls) * 1e6:.0f} µs",
                )
        CONSOLE.print(made)


class Workers:
    """The section on throughput, in pieces of two minutes: a model, and a method or `beside`."""

    def __init__(self, *, quick: bool) -> None:
        self._names = MODELS[:1] if quick else MODELS
        self._rounds = 1 if quick else ROUNDS

    def run(self, names: tuple[str, ...] = (), pieces: tuple[str, ...] = ()) -> None:
        """Measures and prints, and adds each figure to a file of JSON lines.

        Args:
            names: The models; empty: all.
            pieces: Of `PIECES`; empty: all.
        """
        for name in names or self._names:
            for piece in pieces or PIECES:
                with only(name) as repository, all_modes(repository, MODES) as servers:
                    if piece == BESIDE:
                        self._beside(name, servers)
                    else:
                        self._method(name, piece, servers)

    def _method(self, name: str, method: str, servers: Mapping[str, Server]) -> None:
        limit = limit_of_all_cores(name)
        made = table(
            f"{name}, {method}: raw limit {limit:.0f} gradient rows/s",
            ("clients", "server", "answers/s", "p50", "p99", "CPU an answer", "of raw",
             "of one process"),
        )  # fmt: skip
        path, asked = request(name, method)
        for clients in CLIENTS:
            turn = clients * ROWS[method] / limit
            if turn > MOST_SECONDS:
                continue
            seconds = max(SECONDS, 2 * turn)
            found: defaultdict[str, list[tuple[Answers, float]]] = defaultdict(list)
            for _ in range(self._rounds):
                for label, server in servers.items():
                    before = _cpu_seconds(server)
                    load = Load(server.address, path, [asked], clients, WARM_UP, seconds)
                    answers = finish_load(start_load(load))
                    spent = _cpu_seconds(server) - before
                    found[label].append((answers, spent / max(1, answers.calls)))
            rates = {
                label: median(
                    answers.overall_rate if turn > LONG_SECONDS else answers.rate
                    for answers, _ in each
                )
                for label, each in found.items()
            }
            for label, each in found.items():
                rate = rates[label]
                record = {
                    "p50": median(answers.quantile(0.5) for answers, _ in each),
                    "p99": median(answers.quantile(0.99) for answers, _ in each),
                    "cpu": median(spent for _, spent in each),
                    "of_raw": rate * ROWS[method] / limit,
                    "of_one_process": rate / max(rates[ONE], 1e-9),
                }
                asked_of = {"model": name, "method": method, "clients": clients, "server": label}
                _keep(**asked_of, limit=limit, rate=rate, **record)
                made.add_row(
                    str(clients),
                    label,
                    f"{rate:.1f}" if rate < 100 else f"{rate:.0f}",
                    duration(record["p50"]),
                    duration(record["p99"]),
                    duration(record["cpu"]),
                    f"{record['of_raw']:.0%}",
                    ratio(record["of_one_process"]),
                )
        CONSOLE.print(made)

    def _beside(self, name: str, servers: Mapping[str, Server]) -> None:
        made = table(
            f"{name}: Predict, one client, beside 8 clients of integrated gradients",
            ("server", "idle p50", "p99", "beside p50", "p99", "p99 over idle"),
        )
        predict, explain = request(name, "predict"), request(name, "integrated_gradients")
        found: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
        for _ in range(self._rounds):
            for label, server in servers.items():
                quantiles: list[float] = []
                for busy in (False, True):
                    others = None
                    if busy:
                        load = Load(server.address, explain[0], [explain[1]], 8, WARM_UP, SECONDS)
                        others = start_load(load)
                    load = Load(server.address, predict[0], [predict[1]], 1, WARM_UP, SECONDS)
                    answers = finish_load(start_load(load))
                    if others is not None:
                        finish_load(others)
                    quantiles += (answers.quantile(0.5), answers.quantile(0.99))
                found[label].append((*quantiles, quantiles[3] - quantiles[1]))
        for label, each in found.items():
            middle = [max(0.0, median(one)) for one in zip(*each, strict=True)]
            _keep(model=name, method=BESIDE, server=label, quantiles=middle)
            made.add_row(label, *map(duration, middle))
        CONSOLE.print(made)


def _keep(**record: object) -> None:
    """Adds a record to the file of figures: what was measured is there if the rest is not."""
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    with FIGURES.open("a") as file:
        file.write(json.dumps({"at": f"{datetime.now():%F %T}", **record}) + "\n")


def request(name: str, method: str) -> tuple[str, str]:
    """Returns the RPC and the message, in base64, of a question about a model.

    Args:
        name: The model.
        method: The method, or `predict`.
    """
    if name == "reviews":
        return _about_a_text(method)
    view = load_subject(name).smooth
    if method == "predict":
        return requests.PREDICT, requests.predict(name, view)
    return requests.EXPLAIN, requests.explain(name, view, method)


def _about_a_text(method: str) -> tuple[str, str]:
    # As many tokens as the raw limit's rows have: a word each, and two at the ends.
    tokens = load_subject("reviews").plain.inputs.shape[1]
    text = tensor_pb2.Tensor(datatype="BYTES", shape=[1])
    text.values.values.add().string_value = " ".join(["good"] * (tokens - 2))
    model = model_pb2.ModelRef(name="reviews")
    if method == "predict":
        asked = pb.PredictRequest(model=model, inputs=[text]).SerializeToString()
        return requests.PREDICT, base64.b64encode(asked).decode()
    spec = method_pb2.MethodSpec(name=method)
    if method == "integrated_gradients":
        spec.params["n_steps"].number_value = 50
    target = explain_spec_pb2.Target(index=explain_spec_pb2.OutputIndex(values=[1]))
    question = pb.ExplainRequest(
        model=model,
        inputs=[text],
        spec=explain_spec_pb2.ExplainSpec(methods=[spec], targets=[target]),
        cache=pb.CACHE_POLICY_BYPASS,
    )
    return requests.EXPLAIN, base64.b64encode(question.SerializeToString()).decode()


def _cpu_seconds(server: Server) -> float:
    """Returns what a server and its workers have used so far."""
    total = 0.0
    for process in (server.process, *server.process.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
