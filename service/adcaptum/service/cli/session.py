"""A client for one command, and the printing of its errors."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from adcaptum.client import AdcaptumError, Client, Internal, Unavailable
from adcaptum.service.cli.json_errors import print_call_error
from adcaptum.service.cli.server_options import ServerOptions


@contextlib.contextmanager
def connected(server: ServerOptions, *, as_json: bool = False) -> Iterator[Client]:
    """Give a client; an error inside becomes one line on standard error and exit code 1.

    Args:
        server: The server.
        as_json: Whether the line is JSON.

    Raises:
        typer.BadParameter: The options do not fit together.
        typer.Exit: Something went wrong and was printed.
    """
    if (server.cert is None) != (server.key is None):
        raise typer.BadParameter("--cert and --key belong together")
    try:
        with Client(
            server.address,
            tls=server.tls,
            root_certificates=_content(server.ca),
            client_key=_content(server.key),
            client_certificates=_content(server.cert),
            token=server.api_key,
        ) as client:
            yield client
    except (AdcaptumError, ImportError, OSError) as error:
        if as_json:
            print_call_error(error)
        else:
            _print(_words(error, server.address))
        raise typer.Exit(1) from error


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def _words(error: Exception, address: str) -> str:
    match error:
        case Unavailable(request_id=""):
            return f"{address} is unavailable: {error}"
        case AdcaptumError():
            facts = [error.reason] if error.reason else []
            if isinstance(error, Internal) and error.request_id:
                facts.append(f"request {error.request_id}")
            return f"{error} ({', '.join(facts)})" if facts else str(error)
    return str(error)


def _print(words: str) -> None:
    # On one line, however long: people copy it, and programs read it.
    console = Console(file=sys.stderr)
    console.print(Text(f"error: {' '.join(words.split())}", style="red"), soft_wrap=True)
