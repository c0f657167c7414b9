"""A client for the time of one command, and what happens when it fails."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from adcaptum.client import AdcaptumError, Client, Internal, Unavailable


@contextlib.contextmanager
def connected(address: str, *, tls: bool = False, ca: Path | None = None) -> Iterator[Client]:
    """Give a client; an error inside becomes one line on stderr and exit code 1.

    Raises:
        typer.Exit: Something went wrong, and was told.
    """
    try:
        certificates = ca.read_bytes() if ca is not None else None
        with Client(address, tls=tls, root_certificates=certificates) as client:
            yield client
    except AdcaptumError as error:
        _tell(_words(error, address))
        raise typer.Exit(1) from error
    except (ImportError, OSError) as error:
        _tell(str(error))
        raise typer.Exit(1) from error


def _words(error: AdcaptumError, address: str) -> str:
    match error:
        case Unavailable():
            return f"{address} is unavailable: {error}"
        case Internal(request_id=request_id) if request_id:
            return f"{error} (request {request_id})"
    return str(error)


def _tell(words: str) -> None:
    # On one line, however long: people copy it, and programs read it.
    console = Console(file=sys.stderr)
    console.print(Text(f"error: {' '.join(words.split())}", style="red"), soft_wrap=True)
