"""A progress bar for a streamed explanation."""

from collections.abc import Iterable

from rich import progress as bars
from rich.console import Console

from adcaptum.client import Accepted, Event, Explanations, Progress, Result, Unavailable


def follow(events: Iterable[Event], console: Console) -> Explanations:
    """Show the progress of a request and return its answer.

    Raises:
        Unavailable: The stream ended without an answer.
    """
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("rows"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("asking", total=None)
        for event in events:
            match event:
                case Accepted(expected_rows=rows, requests_ahead=ahead, expected_seconds=seconds):
                    # It may come again; what was done before is then void.
                    waiting = _waiting(ahead, seconds)
                    shown.update(task, description=waiting, completed=0, total=rows or None)
                case Progress(rows_done=done, expected_rows=rows, remaining_seconds=seconds):
                    text = _remaining(seconds)
                    shown.update(task, description=text, completed=done, total=rows or None)
                case Result(explanations):
                    return explanations
    raise Unavailable("the server ended the stream without an answer")


def _waiting(requests: int, seconds: float) -> str:
    text = f"beside {requests} requests" if requests else "explaining"
    return f"{text}, about {seconds:.0f} s" if seconds >= 1 else text


def _remaining(seconds: float | None) -> str:
    return "explaining" if seconds is None or seconds < 1 else f"explaining, {seconds:.0f} s more"
