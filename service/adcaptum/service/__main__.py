"""`python -m adcaptum.service --repository DIR`: the server, without the rest of `adcaptum`."""

import os
import sys

# OpenMP reads it once, when torch is loaded: its threads would burn, by spinning between batches,
# the cores that gRPC needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Children run other programs at once: gRPC need not survive the fork, nor say that it cannot.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from pydantic import ValidationError  # after the environment is set
from pydantic_settings import CliApp  # likewise

from adcaptum.service.modes import start  # likewise
from adcaptum.service.settings import Settings  # likewise


def main() -> None:
    """Runs the server with the settings of the command line and the environment."""
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:])
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        sys.exit(f"error: {'; '.join(problems)}")
    start(settings)


if __name__ == "__main__":
    main()
