"""The command line: ``adcaptum serve | predict | explain | models | methods | init | check``...

Nothing here imports torch before ``serve``, or a command that makes or tries a model, runs, so all
other commands work without it.
"""

import os
import sys


def main() -> None:
    """Run the command of the process's arguments."""
    # gRPC reads it when it is imported. Children of `serve` run other programs at once: gRPC need
    # not survive the fork, nor say in the log that it cannot.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        from adcaptum.service.cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit(f"adcaptum needs {error.name} for its commands: pip install 'adcaptum[cli]'")
    app()
