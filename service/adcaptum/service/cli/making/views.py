"""The trial of a model in a terminal and as JSON."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from rich import progress as bars
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adcaptum.service.cli.listing import show

if TYPE_CHECKING:
    # It imports torch.
    from adcaptum.service.authoring.trial import Outcome, Trial

_STYLES: Final = {"ok": "green", "no": "dim", "slow": "yellow", "failed": "red"}


class Bar:
    """A progress bar on standard error, gone at the end."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("loading", total=None)

    def show(self, name: str, done: int, total: int) -> None:
        """Show what is tried next."""
        self._progress.update(self._task, description=name, completed=done, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


def print_trial(folder: Path, trial: "Trial") -> None:
    """Print the table of what works, and what the server found out."""
    if trial.model is None:
        Console(stderr=True).print(
            Text(f"{folder}: does not load: {trial.reason}", style="red"), soft_wrap=True
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("question", "answer", "seconds", "rows", ""):
        right = title in {"seconds", "rows"}
        table.add_column(title, overflow="fold", justify="right" if right else "left")
    for each in trial.outcomes:
        table.add_row(
            Text(each.name),
            Text(each.verdict, style=_STYLES[each.verdict]),
            Text("" if each.seconds is None else f"{each.seconds:.3f}"),
            Text("" if each.rows is None else str(each.rows)),
            Text(each.note),
        )
    show(table)
    for text in (*_found(trial), _summary(folder, trial)):
        Console().print(Text(text), soft_wrap=True)


def as_json_object(trial: "Trial") -> dict[str, Any]:
    """Return the trial as JSON has it."""
    return {
        "passed": trial.passed,
        "load_seconds": round(trial.load_seconds, 3),
        "reason": trial.reason,
        "outcomes": [_outcome(each) for each in trial.outcomes],
    }


def _outcome(outcome: "Outcome") -> dict[str, Any]:
    return {
        "name": outcome.name,
        "verdict": outcome.verdict,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 4),
        "rows": outcome.rows,
        "note": outcome.note,
    }


def _found(trial: "Trial") -> list[str]:
    """Return what the server found out about the model, in sentences."""
    assert trial.model is not None, "it has loaded"
    version = trial.model.default
    found = []
    if version.checks is not None and not version.checks.independent:
        found.append("Rows depend on those beside them, so the server evaluates them one by one.")
    if version.checks is not None and not version.checks.differentiable:
        found.append("Gradients do not reach the inputs.")
    if not version.layers:
        found.append("It has no layers that can be explained.")
    return found


def _summary(folder: Path, trial: "Trial") -> str:
    counts = {
        verdict: sum(each.verdict == verdict for each in trial.outcomes) for verdict in _STYLES
    }
    words = {
        "ok": "answered",
        "no": "not for this model",
        "slow": "took too long",
        "failed": "failed",
    }
    told = ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)
    return f"{folder}: loaded in {trial.load_seconds:.1f} s; {told}"
