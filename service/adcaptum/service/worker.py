"""`python -m adcaptum.service.worker JSON`: a worker process, started by a supervisor."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

# OpenMP reads it once, when torch is loaded: its threads would burn, by spinning between batches,
# the cores that gRPC needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from adcaptum.service.lifecycle.wanted import as_told  # after the environment is set
from adcaptum.service.processes.seat import Seat  # likewise
from adcaptum.service.server import run  # likewise
from adcaptum.service.settings import Settings  # likewise

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Runs the server that the command line describes."""
    told = json.loads(sys.argv[1])
    seat = Seat(
        worker=told["seat"]["worker"],
        socket=Path(told["seat"]["socket"]),
        http_socket=Path(told["seat"]["http_socket"]),
        frames_socket=Path(told["seat"]["frames_socket"]),
        journal=Path(told["seat"]["journal"]),
        supervisor=told["seat"]["supervisor"],
        models=tuple(told["seat"]["models"]),
        elsewhere=tuple(told["seat"]["elsewhere"]),
        unplaced=told["seat"]["unplaced"],
        versions=as_told(told["seat"]["versions"]),
        quarantined=tuple(told["seat"]["quarantined"]),
        one_by_one=told["seat"]["one_by_one"],
        core=told["seat"]["core"],
    )
    if seat.core is not None:
        # All threads of the process begin after this one, on its core.
        os.sched_setaffinity(0, {seat.core})
    if sys.platform == "linux":
        # Nobody could receive its answers without the front.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != seat.supervisor:
        sys.exit("the supervisor has ended")
    # Ctrl-C reaches the whole group of processes; the supervisor ends its workers itself.
    run(Settings(**told["settings"]), seat)


if __name__ == "__main__":
    main()
