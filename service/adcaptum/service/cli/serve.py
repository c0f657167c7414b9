"""Starting the server, as far as it can be said before torch is there."""

import os
from pathlib import Path

import typer


def run_server(options: dict[str, Path | str | int | float | None]) -> None:
    """Run the server until it is told to stop.

    Args:
        options: Settings by name; None leaves one to the environment and the defaults.

    Raises:
        typer.BadParameter: A setting is missing or wrong.
    """
    # OpenMP reads it once, when torch is loaded: its threads would burn the cores that gRPC needs
    # by spinning between batches.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from pydantic import ValidationError  # noqa: PLC0415 - only the service's extra has it

    from adcaptum.service.settings import Settings  # noqa: PLC0415 - likewise

    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type] # pydantic checks what it is given
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise typer.BadParameter(wrong) from error

    from adcaptum.service.server import run  # noqa: PLC0415 - it imports torch

    run(settings)
