"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
from time import perf_counter

from tests.benchmarks.calls import Calls
from tests.benchmarks.flood import Flood
from tests.benchmarks.inprocess import InProcess
from tests.benchmarks.mechanisms import Mechanisms
from tests.benchmarks.memory import Memory
from tests.benchmarks.rules import Rules
from tests.benchmarks.served import Served
from tests.benchmarks.served_small import ServedSmall
from tests.benchmarks.soak import Soak
from tests.benchmarks.tables import CONSOLE
from tests.benchmarks.throughput import Throughput
from tests.benchmarks.tolerance import Tolerances

SECTIONS = (
    "inprocess", "calls", "rules", "memory", "served", "served_small", "throughput", "tolerance",
    "mechanisms", "soak", "flood",
)  # fmt: skip


def main() -> None:
    """Runs the sections named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="section")
    parser.add_argument("--quick", action="store_true", help="about a minute a section")
    parser.add_argument("--model", action="append", default=[], help="not of memory: only this")
    parser.add_argument(
        "--method", action="append", default=[], help="of inprocess, calls and tolerance, only this"
    )
    arguments = parser.parse_args()
    for section in arguments.sections or SECTIONS:
        begin = perf_counter()
        CONSOLE.rule(section)
        if section == "inprocess":
            InProcess(quick=arguments.quick).run(tuple(arguments.model), tuple(arguments.method))
        elif section == "calls":
            Calls(quick=arguments.quick).run(tuple(arguments.model), tuple(arguments.method))
        elif section == "rules":
            Rules(quick=arguments.quick).run(tuple(arguments.model))
        elif section == "memory":
            Memory(quick=arguments.quick).run()
        elif section == "tolerance":
            Tolerances(quick=arguments.quick).run(tuple(arguments.model), tuple(arguments.method))
        elif section == "throughput":
            Throughput(quick=arguments.quick).run(tuple(arguments.model))
        elif section == "mechanisms":
            Mechanisms(quick=arguments.quick).run()
        elif section == "served_small":
            ServedSmall(quick=arguments.quick).run(tuple(arguments.model), tuple(arguments.method))
        elif section == "soak":
            Soak(quick=arguments.quick).run()
        elif section == "flood":
            Flood(quick=arguments.quick).run()
        else:
            Served(quick=arguments.quick).run(tuple(arguments.model))
        CONSOLE.print(f"{section}: {perf_counter() - begin:.0f} s")
