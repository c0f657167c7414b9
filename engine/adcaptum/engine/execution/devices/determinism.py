"""Kernels that give the same bits each time, for the evaluations that ask for it.

On a processor the same call with the same threads gives the same bits. On CUDA some kernels add up
in the order in which their threads happen to end, and cuDNN may measure which of its kernels is
fastest. PyTorch can forbid both, for all threads at once. An operation without another kernel, or
cuBLAS without `CUBLAS_WORKSPACE_CONFIG`, then raises an error instead.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch

from adcaptum.engine.errors import NotDeterministic
from adcaptum.engine.execution.devices.process_switch import ProcessSwitch

WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
"""The variable of the environment that cuBLAS reads when a process first uses it."""

WORKSPACE_VALUE: Final = ":4096:8"
"""A value with which it gives the same bits: 32 MiB of memory for each of its handles."""

_WITHOUT: Final = "does not have a deterministic implementation"


def kernels(*, same_bits: bool) -> AbstractContextManager[None]:
    """Holds PyTorch's choice of kernels on devices while a batch runs.

    Args:
        same_bits: Whether the batch has to give the same bits each time.

    Raises:
        NotDeterministic: By operations inside that have no such kernel.
    """
    return _SWITCH.held(on=same_bits)


class _Deterministic(AbstractContextManager[None]):
    """PyTorch's setting for the same bits each time; as before afterwards."""

    def __enter__(self) -> None:
        cudnn = torch.backends.cudnn
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            cudnn.deterministic,
            cudnn.benchmark,
        )
        torch.use_deterministic_algorithms(mode=True)
        cudnn.deterministic, cudnn.benchmark = True, False

    def __exit__(self, *_: object) -> None:
        mode, warn_only, deterministic, benchmark = self._before
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = benchmark


def refusal(error: RuntimeError) -> NotDeterministic | None:
    """Returns the error to raise instead of PyTorch's refusal; None if it is none."""
    text = str(error)
    operation, without, _ = text.partition(_WITHOUT)
    if without:
        return NotDeterministic(
            f"{operation.strip()} has no kernel on this device that gives the same bits each time"
        )
    if WORKSPACE in text:
        return NotDeterministic(
            f"cuBLAS gives the same bits each time only if the environment has {WORKSPACE}, such "
            f"as {WORKSPACE_VALUE}, when the process starts"
        )
    return None


_SWITCH: Final = ProcessSwitch(lambda on: _Deterministic() if on else nullcontext())
