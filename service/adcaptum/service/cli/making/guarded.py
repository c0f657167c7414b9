"""The errors of commands that make entries, as one line and an exit code."""

import contextlib
import importlib
import os
from collections.abc import Iterator

import typer

from adcaptum.service.cli.json_errors import print_error


@contextlib.contextmanager
def guarded(command: str, *, as_json: bool = False) -> Iterator[None]:
    """Turn errors of the context into a line on standard error and exit code 1.

    Args:
        command: The command's name.
        as_json: Whether the line is JSON.

    Raises:
        typer.Exit: Something went wrong and was printed.
    """
    # OpenMP reads it once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        importlib.import_module("adcaptum.service.authoring.in_process")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "adcaptum"}:
            raise
        problem = (
            f"adcaptum {command} needs {package}, which is not installed: install torch first, "
            "then pip install 'adcaptum[service]'"
        )
        _print("ModuleNotFoundError", problem, as_json=as_json)
        raise typer.Exit(1) from error
    from adcaptum.service.authoring.errors import AuthoringError  # noqa: PLC0415 - after the check

    try:
        yield
    except AuthoringError as error:
        _print("AuthoringError", str(error), as_json=as_json)
        raise typer.Exit(1) from error


def _print(kind: str, problem: str, *, as_json: bool) -> None:
    if as_json:
        print_error(kind, problem)
    else:
        typer.echo(f"error: {' '.join(problem.split())}", err=True)
