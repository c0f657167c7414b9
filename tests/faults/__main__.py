"""`python -m tests.faults [TIMES]`: every fault under load, and a table."""

import sys

from tests.faults.scenarios import FAULTS, Outcome

HEAD = (
    "| fault | sent | right | retryable | refused | lost | wrong | recovery, s (most) "
    "| p99 of predictions, ms | the faulty calls |"
)


def line(outcome: Outcome) -> str:
    """Returns a line of the table."""
    tally = outcome.tally
    answers = ", ".join(
        f"{outcome.answers.count(each)} {each}" for each in sorted({*outcome.answers})
    )
    cells = (
        outcome.fault,
        tally.sent,
        tally.right,
        tally.retryable,
        sum(tally.refused.values()),
        tally.lost,
        tally.wrong,
        f"{max(outcome.recovery):.1f}",
        f"{1000 * tally.p99:.0f}",
        answers,
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Runs all faults; the exit status is 1 if a call was lost or answered wrongly."""
    times, failed = int(sys.argv[1]) if len(sys.argv) > 1 else 50, False
    print(HEAD)
    print("|---" * 10 + "|")
    for make in FAULTS.values():
        outcome = make(times)
        failed |= bool(outcome.tally.lost or outcome.tally.wrong)
        print(line(outcome), flush=True)
        for note in outcome.tally.notes[:5]:
            print(f"  {note}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
