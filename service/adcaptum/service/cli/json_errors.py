"""Errors of commands that print JSON: one JSON object on standard error."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import typer
from typer.core import TyperGroup

from adcaptum.client import AdcaptumError, InvalidRequest

# The base class of usage errors: Click's, or Typer's own copy of it.
_USAGE_ERROR: Final[Any] = typer.BadParameter.__bases__[0]


class JsonErrors(TyperGroup):
    """The group of commands; a usage error beside ``--json`` is printed as JSON."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # Typer's signature
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = standalone_mode and "--json" in words
        run = partial(super().main, args, prog_name, complete_var)
        if not as_json:
            return run(standalone_mode, windows_expand_args, **extra)
        try:
            code = run(False, windows_expand_args, **extra)
        except _USAGE_ERROR as error:
            print_error("usage", error.format_message())
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def print_error(kind: str, message: str, **more: object) -> None:
    """Print an error as one JSON object on a line of standard error."""
    described = {"kind": kind, "message": message, **more}
    typer.echo(json.dumps({"error": described}, ensure_ascii=False), err=True)


def print_call_error(error: Exception) -> None:
    """Print an error of a call, or of a file."""
    more: dict[str, object] = {}
    if isinstance(error, AdcaptumError):
        described = {
            "reason": error.reason,
            "metadata": dict(error.metadata),
            "request_id": error.request_id,
        }
        more |= {name: each for name, each in described.items() if each}
    if isinstance(error, InvalidRequest) and error.violations:
        more["violations"] = [
            {"field": each.field, "description": each.description} for each in error.violations
        ]
    print_error(type(error).__name__, str(error), **more)
