"""`python -m tests.faults [--kills N] [--seconds S] [NAME ...]`: faults under load, and a table."""

import argparse
import sys
from math import inf

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.outcome import head
from tests.faults.scenarios import FAULTS, run

KILLS = "kill -9"


def main() -> None:
    """Runs the faults; the exit status is 1 if a call was lost or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--kills", type=int, default=FAULTS[KILLS].times, metavar="N")
    parser.add_argument("--seconds", type=float, default=inf, metavar="S", help="for the kills")
    told = parser.parse_args()
    if unknown := {*told.names} - {*FAULTS}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    times = {name: FAULTS[name].times for name in told.names or FAULTS}
    if KILLS in times:
        times[KILLS] = told.kills
    failed = False
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    print(head(), flush=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, redirect_stdout=False) as bar:
        task = bar.add_task("", total=sum(times.values()))
        for name, count in times.items():
            bar.update(task, description=name)
            outcome = run(name, count, lambda: bar.advance(task), told.seconds)
            failed |= outcome.failed
            print(outcome.row, flush=True)
            for note in outcome.tally.notes[:5]:
                console.print(f"  {note}", markup=False)
    sys.exit(failed)


if __name__ == "__main__":
    main()
