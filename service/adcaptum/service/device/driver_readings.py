"""Readings that the driver of a CUDA device takes, of all processes that use it.

PyTorch reads them through NVML where the package `nvidia-ml-py` is installed (the extra `cuda`).
Without it, and where the driver has no such reading (parts of a device, for one), they are absent.
"""

from collections.abc import Callable
from functools import partial
from math import nan
from types import MappingProxyType
from typing import Final

import torch

Reading = Callable[[], float]


def _utilization(device: torch.device) -> float:
    return torch.cuda.utilization(device) / 100


def _used_bytes(device: torch.device) -> float:
    return torch.cuda.device_memory_used(device)


KINDS: Final = MappingProxyType({"utilization": _utilization, "used_bytes": _used_bytes})
"""The readings by their names: the busy share of the last moment, and the memory in use."""


def readings(device: torch.device) -> dict[str, Reading]:
    """Returns the readings that there are of a device, by names of `KINDS`."""
    if device.type != "cuda":
        return {}
    found: dict[str, Reading] = {}
    for name, read in KINDS.items():
        try:
            read(device)
        except Exception:  # noqa: BLE001, S112 - NVML's errors have no class that is always there
            continue
        found[name] = partial(_read, read, device)
    return found


def _read(read: Callable[[torch.device], float], device: torch.device) -> float:
    """Returns a reading; not a number where the driver does not give it at the moment."""
    try:
        return read(device)
    except Exception:  # noqa: BLE001 - a scrape must not fail with it
        return nan
