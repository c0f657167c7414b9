"""The command keys: makes API keys."""

import json
from typing import Annotated

import typer

app = typer.Typer(help="API keys of a server's callers.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """API keys of a server's callers."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The caller's name, for quotas and the audit log.")],
    *,
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE[:MODELS]",
            help="read, predict, explain, admin or metrics; for some models only as in "
            "explain:cells*. May be repeated; by default predict and explain.",
        ),
    ] = None,
    row_seconds: Annotated[
        float | None, typer.Option(help="Seconds of the device that it may use in each second.")
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="The most rows that it may have under way.")
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="It may speak for others, named by x-caller-id.")
    ] = False,
) -> None:
    """Make a key: print it, and the line about it for the server's file of credentials.

    The line belongs under [keys] in that file, or into ADCAPTUM_API_KEYS. It has a digest of the
    key, not the key, which is shown this once.
    """
    from adcaptum.service.security import api_keys, credentials  # noqa: PLC0415 - an extra has them

    made = api_keys.new_key()
    facts: dict[str, object] = {"key": made.stored, "roles": role or ["predict", "explain"]}
    facts |= {"row_seconds": row_seconds} if row_seconds is not None else {}
    facts |= {"max_rows": max_rows} if max_rows is not None else {}
    facts |= {"proxy": True} if proxy else {}
    # JSON's texts, numbers and lists are TOML's.
    inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in facts.items())
    line = f"{json.dumps(name)} = {{ {inside} }}"
    try:
        credentials.read_keys(line)
    except credentials.BadCredentials as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"key: {made.key}", err=True)
    typer.echo(line)
