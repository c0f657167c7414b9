"""The choice of a device by its name."""

import os

import torch

from adcaptum.engine.execution.devices.determinism import WORKSPACE, WORKSPACE_VALUE
from adcaptum.service.processes.exits import CannotStart


def usable(name: str) -> torch.device:
    """Returns a device on which a tensor can be made.

    Raises:
        CannotStart: PyTorch does not know it, or cannot use it here.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda":
            # For deterministic requests; cuBLAS reads it when it is first used.
            os.environ.setdefault(WORKSPACE, WORKSPACE_VALUE)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CannotStart(f"device {name!r} cannot be used: {reason}") from error
    return device
