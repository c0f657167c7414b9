"""Builds the bundled models: `python -m adcaptum.zoo build --into DIR`."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import safetensors.torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from adcaptum.zoo.recipes import review_head
from adcaptum.zoo.registry import RECIPES

application = typer.Typer(no_args_is_help=True, add_completion=False)


@application.callback()
def main() -> None:
    """The bundled models: real data, real weights, measured when built."""


@application.command()
def build(
    into: Annotated[Path, typer.Option(help="The model repository, made if it is not there.")],
    only: Annotated[list[str] | None, typer.Option(help="A model to build; repeatable.")] = None,
) -> None:
    """Builds the models into a repository, in place of those of the same names."""
    names = only or list(RECIPES)
    if unknown := sorted(set(names) - set(RECIPES)):
        raise typer.BadParameter(f"no model {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    table = Table("model", "held-out accuracy", "weights", "seconds")
    console = Console()
    with _progress(console) as progress:
        for name in names:
            task = progress.add_task(name, total=1.0)
            start = time.perf_counter()
            folder = RECIPES[name](partial(_show, progress, task))
            folder.write(into)
            progress.update(task, completed=1.0)
            seconds = time.perf_counter() - start
            table.add_row(name, folder.measured, f"{folder.weight_count:,}", f"{seconds:.1f}")
    console.print(table)


@application.command()
def train_reviews(
    save: Annotated[Path | None, typer.Option(help="Where to save the head's weights.")] = None,
) -> None:
    """Trains the sentiment head anew, measures it and compares it with the committed one."""
    console = Console()
    with _progress(console) as progress:
        report = partial(_show, progress, progress.add_task("reviews", total=1.0))
        head, held_out = review_head.train(report)
    console.print(f"held-out accuracy {held_out:.1%}")
    if save is not None:
        save.write_bytes(safetensors.torch.save(head.state_dict()))
        console.print(f"saved to {save}")
    difference = review_head.difference(head)
    console.print(f"largest difference to the committed weights {difference:.1g}")
    if difference > review_head.TOLERANCE:
        raise typer.Exit(code=1)


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _show(progress: Progress, task: TaskID, done: float) -> None:
    progress.update(task, completed=done)


if __name__ == "__main__":
    application()
