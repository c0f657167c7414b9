"""A progress bar for a streamed explanation."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from adcaptum.client import Accepted, Event, Explanations, Final, Partial, Unavailable


def follow(events: Iterable[Event], console: Console) -> Explanations:
    """Show the progress of a request and return its answer.

    Raises:
        Unavailable: The stream ended without an answer.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("asking", total=None)
        for event in events:
            match event:
                case Accepted(rows=rows, position=position, seconds=seconds):
                    waiting = _waiting(position, seconds)
                    progress.update(task, description=waiting, total=rows or None)
                case Partial(rows_done=done, rows=rows):
                    progress.update(
                        task, description="explaining", completed=done, total=rows or None
                    )
                case Final(explanations):
                    return explanations
    raise Unavailable("the server ended the stream without an answer")


def _waiting(position: int, seconds: float) -> str:
    told = f"beside {position} requests" if position else "explaining"
    return f"{told}, about {seconds:.0f} s" if seconds >= 1 else told
