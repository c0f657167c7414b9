"""The start of the server, with the errors that can be found before torch is imported."""

import os
from pathlib import Path

import typer


def run_server(options: dict[str, Path | str | int | float | None]) -> None:
    """Run the server until a signal stops it.

    Args:
        options: Settings by name; None leaves one to the environment and the defaults.

    Raises:
        typer.BadParameter: A setting is missing or wrong.
        typer.Exit: A package of the extra is missing, and was named.
    """
    # OpenMP reads it once, when torch is loaded: its threads would burn the cores that gRPC needs
    # by spinning between batches.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _run({name: value for name, value in options.items() if value is not None})
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "adcaptum"}:
            raise
        typer.echo(
            f"error: adcaptum serve needs {package}, which is not installed: install torch first, "
            "then pip install 'adcaptum[service]'",
            err=True,
        )
        raise typer.Exit(1) from error


def _run(given: dict[str, Path | str | int | float]) -> None:
    from pydantic import ValidationError  # noqa: PLC0415 - only the service's extra has it

    from adcaptum.service.modes import start  # noqa: PLC0415 - likewise
    from adcaptum.service.settings import Settings  # noqa: PLC0415 - likewise

    try:
        settings = Settings(**given)  # type: ignore[arg-type] # pydantic checks the values
    except ValidationError as error:
        raise typer.BadParameter("; ".join(map(_words, error.errors()))) from error
    if not settings.repository.is_dir():
        raise typer.BadParameter(f"repository: {settings.repository} is not a folder")
    start(settings)


def _words(problem: object) -> str:
    assert isinstance(problem, dict), "pydantic describes problems in dictionaries"
    name, message = ".".join(map(str, problem["loc"])), str(problem["msg"])
    if name == "repository" and problem["type"] == "missing":
        return (
            "no folder of models: name it, as in adcaptum serve build/models, or set "
            "ADCAPTUM_REPOSITORY"
        )
    return f"{name}: {message}"
