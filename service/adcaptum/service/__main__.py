"""`python -m adcaptum.service --repository DIR`: the server, without the rest of `adcaptum`."""

import os
import sys

# OpenMP reads it once, when torch is loaded: its threads would burn, by spinning between batches,
# the cores that gRPC needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pydantic_settings import CliApp  # after the environment is set

from adcaptum.service.server import run  # likewise
from adcaptum.service.settings import Settings  # likewise

if __name__ == "__main__":
    run(CliApp.run(Settings, cli_args=sys.argv[1:]))
