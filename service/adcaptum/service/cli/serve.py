"""The command serve, with the errors that can be found before torch is imported."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def serve(
    repository: Annotated[Path | None, typer.Argument(help="The folder of models.")] = None,
    *,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Listen where others reach it, without credentials."),
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who may call, and do what: see keys new.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the certificate; encrypts.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of its private key.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file of who signs callers' certificates (mTLS)."),
    ] = None,
    no_reflection: Annotated[
        bool, typer.Option("--no-reflection", help="Do not describe services by gRPC reflection.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="gRPC; 0 picks a free one.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Metrics and health; 0 picks one.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or several: cuda:0,cuda:1.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes under a front; by default one for each device."),
    ] = None,
    fronts: Annotated[
        int | None, typer.Option(help="Front processes on the one port, before the workers.")
    ] = None,
    watch: Annotated[
        bool | None,
        typer.Option("--watch", help="Load models when their folders change, unload when they go."),
    ] = None,
    target_batch_seconds: Annotated[
        float | None, typer.Option(help="The longest that a batch keeps a prediction waiting.")
    ] = None,
    allowed_packages: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Packages from which models' factories may come, beside their own code folders.",
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve a folder of models.

    Options that are absent are read from the environment (ADCAPTUM_REPOSITORY, ADCAPTUM_PORT, ...).
    A model repository is as trusted as code: its models' code runs in the server.
    """
    run_server(
        {
            "repository": repository,
            "host": host,
            "insecure": insecure,
            "credentials": credentials,
            "tls_certificate": tls_certificate,
            "tls_key": tls_key,
            "tls_client_ca": tls_client_ca,
            "reflection": False if no_reflection else None,
            "port": port,
            "http_port": http_port,
            "device": device,
            "workers": workers,
            "fronts": fronts,
            "watch": watch,
            "target_batch_seconds": target_batch_seconds,
            "allowed_packages": allowed_packages,
            "log_level": log_level,
        }
    )


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
    if settings.watch and find_spec("watchfiles") is None:
        raise typer.BadParameter("watch: needs watchfiles: pip install 'adcaptum[watch]'")
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
