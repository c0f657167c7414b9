"""`python -m adcaptum.service.front.following JSON`: a further front, started by the first one."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from adcaptum.service.front.following.follower import run
from adcaptum.service.settings import Settings

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Runs the front that the command line describes."""
    told = json.loads(sys.argv[1])
    if sys.platform == "linux":
        # Without the first front nobody would tell it of the workers.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != told["first"]:
        sys.exit("the first front has ended")
    run(
        Settings(**told["settings"]), told["front"], Path(told["folder"]), Path(told["http_socket"])
    )


main()
