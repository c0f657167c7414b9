"""The choice of mode: everything in one process, or worker processes under a front."""

import subprocess
import sys
from typing import Final

from adcaptum.service.settings import Settings

COUNT_DEVICES: Final = "import torch; print(torch.cuda.device_count())"


def start(settings: Settings) -> None:
    """Runs the server that the settings ask for, until a signal comes.

    Raises:
        SystemExit: It failed; the log says why.
    """
    devices = worker_devices(settings)
    if devices:
        from adcaptum.service.front.server import run as run_front  # noqa: PLC0415 - no torch here

        run_front(settings, devices)
        return
    from adcaptum.service.server import run  # noqa: PLC0415 - it imports torch

    run(settings)


def worker_devices(settings: Settings) -> list[str]:
    """Returns the device of each worker process; none if one process does everything."""
    named = list(settings.devices)
    if named == ["cuda"]:
        # Counted by another process, because that takes torch.
        command = [sys.executable, "-c", COUNT_DEVICES]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        found = int(told.stdout.strip() or 0)
        if found > 1:
            named = [f"cuda:{index}" for index in range(found)]
    if settings.workers is None and len(named) <= 1 and settings.fronts == 1:
        return []
    return [named[index % len(named)] for index in range(settings.workers or len(named))]
