"""The memory that workers have for models."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from adcaptum.service.placement.plan import Capacity
from adcaptum.service.processes.facts import machine_bytes
from adcaptum.service.settings import Settings

PROCESS_BYTES: Final = 320 << 20
"""The memory of a worker process without models."""

ASK_DEVICES: Final = (
    "import sys, torch;"
    "print(*[torch.cuda.get_device_properties(each).total_memory for each in sys.argv[1:]])"
)
ASK_SECONDS: Final = 60.0


def capacities(settings: Settings, devices: Sequence[str]) -> list[Capacity]:
    """Returns the room of workers, whose ids are their places.

    Workers on one device divide its memory. That of a device of which PyTorch cannot say it is
    unknown.

    Args:
        settings: The settings of the server.
        devices: The device of each worker.
    """
    count = Counter(devices)
    known: dict[str, int | None] = dict(_asked([each for each in count if each != "cpu"]))
    limit, machine = settings.worker_memory_bytes, machine_bytes()
    if limit is not None or machine:
        own = machine // max(1, count["cpu"]) if limit is None else limit
        known["cpu"] = count["cpu"] * max(0, own - PROCESS_BYTES)
    return [
        Capacity(str(index), device, None if total is None else total // count[device])
        for index, device in enumerate(devices)
        for total in (known.get(device),)
    ]


def _asked(devices: Sequence[str]) -> dict[str, int]:
    """Asks another process for the memory of devices, because that takes torch."""
    if not devices:
        return {}
    try:
        told = subprocess.run(  # noqa: S603 - of this interpreter
            [sys.executable, "-c", ASK_DEVICES, *devices],
            capture_output=True,
            text=True,
            check=False,
            timeout=ASK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {}
    sizes = [int(each) for each in told.stdout.split() if each.isdigit()]
    return dict(zip(devices, sizes, strict=True)) if len(sizes) == len(devices) else {}
