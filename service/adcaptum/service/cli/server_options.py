"""The options of commands that ask a server: its address, encryption, credentials."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from adcaptum.client.connection import DEFAULT_ADDRESS


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """A server, and how to reach it.

    Attributes:
        address: Its host and port.
        tls: Whether to encrypt the connection; certificates imply it.
        ca: A PEM file of certificates to trust.
        cert: A PEM file of the certificate that says who asks.
        key: A PEM file of its key.
        api_key: An API key, or a token.
    """

    address: Annotated[
        str, typer.Option(envvar="ADCAPTUM_ADDRESS", metavar="HOST:PORT", help="The server.")
    ] = DEFAULT_ADDRESS
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")] = False
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="PEM file of certificates to trust; encrypts the connection.",
        ),
    ] = None
    cert: Annotated[
        Path | None,
        typer.Option("--cert", metavar="FILE", help="PEM file of your certificate, with --key."),
    ] = None
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="PEM file of its private key.")
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="ADCAPTUM_API_KEY",
            show_envvar=True,
            metavar="KEY",
            help="An API key or a token; others see command lines, so better in the environment.",
        ),
    ] = field(default=None, repr=False)


def asks_server(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command with an argument `server` the options of `ServerOptions` in its place."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        server = ServerOptions(
            **{each.name: given.pop(each.name) for each in fields(ServerOptions)}
        )
        command(**given, server=server)

    own = inspect.signature(command).parameters.values()
    added = inspect.signature(ServerOptions).parameters.values()
    parameters = [
        *(each for each in own if each.name != "server"),
        *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in added),
    ]
    # Typer reads both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
