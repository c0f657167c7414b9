"""The command line: ``adcaptum serve | predict | explain | models | methods | init | check``...

Nothing here imports torch before ``serve``, or a command that makes or tries a model, runs, so all
other commands work without it.
"""

import sys


def main() -> None:
    """Run the command of the process's arguments."""
    try:
        from adcaptum.service.cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit(f"adcaptum needs {error.name} for its commands: pip install 'adcaptum[cli]'")
    app()
