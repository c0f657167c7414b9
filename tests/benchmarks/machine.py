"""What the machine can do at most: gradient rows per second of bare loops, by the wall."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from time import perf_counter

import torch

from tests.benchmarks.bare import BareLoop
from tests.benchmarks.subjects import load_subject

_SECONDS = 1.5


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


def rows_per_second(name: str) -> Limit:
    """Measures a model's limit; the best of two turns."""
    cores = len(os.sched_getaffinity(0))
    turns = [(_together(name, 1), _together(name, cores)) for _ in range(2)]
    one = max(rates[0][0] for rates, _ in turns)
    every = max(sum(rate for rate, _ in rates) for _, rates in turns)
    return Limit(one, every, cores, int(turns[0][0][0][1]))


def _together(name: str, processes: int) -> list[tuple[float, float]]:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.machine", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    # Each says when it is ready, and they begin together.
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    return [tuple(json.loads(process.communicate("go\n")[0])) for process in running]


def main() -> None:
    """Runs one loop when told to, and prints rows per second and the batch size."""
    torch.set_num_threads(1)
    view = load_subject(sys.argv[1]).smooth
    loop = BareLoop(view.network, (view.inputs, *view.extra), "gradient")
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
