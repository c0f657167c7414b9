"""What the machine can do at most: gradient rows per second of bare loops, by the wall."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from adcaptum.service.models.checks import check
from adcaptum.service.models.layouts.choice import choose
from adcaptum.service.models.loading import load
from adcaptum.service.models.repository import stored_models
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.processes import model_repository
from tests.benchmarks.subjects import load_subject

_SECONDS = 1.5
_TARGET_SECONDS = 0.025


@dataclass(frozen=True, slots=True)
class Limit:
    """Rows per second.

    Attributes:
        one: Of one thread.
        all: Of as many processes at once as there are cores, one thread each.
        processes: How many these are.
        batch: The batch size, the best for one.
    """

    one: float
    all: float
    processes: int
    batch: int


def rows_per_second(name: str, *, layout: bool = False) -> Limit:
    """Measures a model's limit; the best of two turns.

    Args:
        name: The model's.
        layout: Whether it has the layout that the server gives it.
    """
    cores = len(os.sched_getaffinity(0))
    turns = [(_together(name, 1, layout), _together(name, cores, layout)) for _ in range(2)]
    one = max(rates[0][0] for rates, _ in turns)
    every = max(sum(rate for rate, _ in rates) for _, rates in turns)
    return Limit(one, every, cores, int(turns[0][0][0][1]))


def limit_of_all_cores(name: str) -> float:
    """Measures a model's rows per second by a process for each core; the best of two turns."""
    cores = len(os.sched_getaffinity(0))
    return max(sum(rate for rate, _ in _together(name, cores, False)) for _ in range(2))


def _together(name: str, processes: int, layout: bool) -> list[tuple[float, float]]:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.machine", name, *["layout"] * layout],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    # Each says when it is ready, and they begin together.
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    return [tuple(json.loads(process.communicate("go\n")[0])) for process in running]


def _in_best_layout(name: str) -> nn.Module:
    """The model as the server changes it: its channels last, its batch norms folded."""
    with model_repository() as repository:
        stored = stored_models.open_model(repository / name)
        version = stored.versions[stored.default_version]
        loaded = load(stored, version, torch.device("cpu"), ("tests.benchmarks",))
    return choose(loaded, check(loaded), _TARGET_SECONDS).module


def main() -> None:
    """Runs one loop when told to, and prints rows per second and the batch size."""
    torch.set_num_threads(1)
    view = load_subject(sys.argv[1]).smooth
    network = _in_best_layout(sys.argv[1]) if sys.argv[2:] else view.network
    loop = BareLoop(network, (view.inputs, *view.extra), "gradient")
    rows = loop.best_rows
    print("ready", flush=True)
    sys.stdin.readline()
    begin, done = perf_counter(), 0
    while perf_counter() - begin < _SECONDS:
        loop.run(rows, rows)
        done += rows
    print(json.dumps((done / (perf_counter() - begin), rows)))


if __name__ == "__main__":
    main()
