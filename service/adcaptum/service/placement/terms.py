"""The terms of a model: the table `[placement]` of its `model.toml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEVICE: Final = re.compile(r"[a-z]+(:\d+)?")
DEVICE_RULE: Final = "the name of a device, such as 'cpu', 'cuda' (any of them) or 'cuda:1'"


@dataclass(frozen=True, slots=True)
class Terms:
    """The workers on which a model wants to be.

    Attributes:
        devices: The devices that it may use; `cuda` stands for all of them. Empty: any.
        replicas: The most workers that have it. Unset: all on which it fits.
        memory_bytes: The memory of a worker's device that it may take. Unset: the size of its
            weights' files, of all versions.
    """

    devices: tuple[str, ...] = ()
    replicas: int = 0
    memory_bytes: int = 0

    def allows(self, device: str) -> bool:
        """Returns whether the model may be on a device."""
        names = {device, device.partition(":")[0], device if ":" in device else f"{device}:0"}
        return not self.devices or not names.isdisjoint(self.devices)


ANYWHERE: Final = Terms()


def of_table(table: object) -> Terms:
    """Returns the terms of a parsed table; those of none if it is wrong.

    Whoever loads the model refuses a wrong table, with the reason.
    """
    if not isinstance(table, Mapping):
        return ANYWHERE
    devices = table.get("devices", [])
    if not isinstance(devices, list) or not all(isinstance(each, str) for each in devices):
        return ANYWHERE
    numbers = [table.get(key, 0) for key in ("replicas", "memory_bytes")]
    if not all(type(each) is int and each >= 0 for each in numbers):
        return ANYWHERE
    return Terms(tuple(devices), *numbers)
