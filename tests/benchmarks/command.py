"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from tests.benchmarks.calls import Calls
from tests.benchmarks.flood import Flood
from tests.benchmarks.inprocess import InProcess
from tests.benchmarks.isolation import Isolation
from tests.benchmarks.mechanisms import Mechanisms
from tests.benchmarks.memory import Memory
from tests.benchmarks.messages import Messages
from tests.benchmarks.rules import Rules
from tests.benchmarks.served import Served
from tests.benchmarks.served_heavy import ServedHeavy
from tests.benchmarks.served_small import ServedSmall
from tests.benchmarks.soak import Soak
from tests.benchmarks.tables import CONSOLE
from tests.benchmarks.throughput import Throughput
from tests.benchmarks.tolerance import Tolerances
from tests.benchmarks.workers import Hop, Workers

SECTIONS = (
    "inprocess", "calls", "rules", "memory", "messages", "served", "served_small", "served_heavy",
    "throughput", "tolerance", "mechanisms", "soak", "flood", "hop", "workers", "isolation",
)  # fmt: skip


def main() -> None:
    """Runs the sections named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="section")
    parser.add_argument("--quick", action="store_true", help="about a minute a section")
    parser.add_argument("--model", action="append", default=[], help="not of memory: only this")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        help="of inprocess, calls, tolerance and workers, only this",
    )
    parser.add_argument(
        "--store", type=Path, help="of served_small: keep what is measured here, and go on from it"
    )
    parser.add_argument(
        "--seconds", type=float, help="of served_small: begin nothing more after so long"
    )
    arguments = parser.parse_args()
    quick, models, methods = arguments.quick, tuple(arguments.model), tuple(arguments.method)
    runs: dict[str, Callable[[], None]] = {
        "inprocess": lambda: InProcess(quick=quick).run(models, methods),
        "calls": lambda: Calls(quick=quick).run(models, methods),
        "rules": lambda: Rules(quick=quick).run(models),
        "memory": lambda: Memory(quick=quick).run(),
        "messages": lambda: Messages(quick=quick).run(),
        "served": lambda: Served(quick=quick).run(models),
        "served_small": lambda: ServedSmall(
            quick=quick, store=arguments.store, seconds=arguments.seconds
        ).run(models, methods),
        "served_heavy": lambda: ServedHeavy(quick=quick).run(models),
        "throughput": lambda: Throughput(quick=quick).run(models),
        "tolerance": lambda: Tolerances(quick=quick).run(models, methods),
        "mechanisms": lambda: Mechanisms(quick=quick).run(),
        "soak": lambda: Soak(quick=quick).run(),
        "flood": lambda: Flood(quick=quick).run(),
        "hop": lambda: Hop(quick=quick).run(),
        "workers": lambda: Workers(quick=quick).run(models, methods),
        "isolation": lambda: Isolation(quick=quick).run(),
    }
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What is measured is there even if the rest is not waited for.
        sys.stdout.reconfigure(line_buffering=True)
    for section in arguments.sections or SECTIONS:
        begin = perf_counter()
        CONSOLE.rule(section)
        runs[section]()
        CONSOLE.print(f"{section}: {perf_counter() - begin:.0f} s")
