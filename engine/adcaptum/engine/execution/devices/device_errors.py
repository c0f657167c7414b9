"""Classes of errors that devices and their libraries raise.

PyTorch raises `OutOfMemoryError` where its own allocator fails. cuBLAS, cuDNN and their like
allocate for themselves, and the driver does too: their failures are `RuntimeError`s, or
`AcceleratorError`s in later versions of PyTorch, which only their numbers and texts tell apart.
"""

from __future__ import annotations

import re
from typing import Final

import torch

_OUT_OF_MEMORY_CODE: Final = 2
"""cudaErrorMemoryAllocation."""

_OUT_OF_MEMORY: Final = re.compile(
    r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|_ALLOC_FAILED|ALLOCATION_FAILED|cublasCreate"
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|unable to find an engine to execute this computation",
    re.IGNORECASE,
)
"""Texts of libraries: a handle of cuBLAS needs memory, and so do all engines of cuDNN."""

_LASTING_CODES: Final = frozenset({214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721})
"""The errors of CUDA's runtime after which every later call of the process fails, too."""

_LASTING: Final = re.compile(
    r"device-side assert|illegal memory access|unspecified launch failure|misaligned address"
    r"|illegal instruction|invalid program counter|launch timed out|hardware stack error"
    r"|uncorrectable (ECC|NVLink) error|operation not supported on global/shared address space",
    re.IGNORECASE,
)

_REPORTER: Final = re.compile(r"\b(CUDA|HIP) error|CUDA kernel errors", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory did not suffice, so that fewer rows may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError) or is_lasting(error):
        return False
    if code_of(error) == _OUT_OF_MEMORY_CODE:
        return True
    return _OUT_OF_MEMORY.search(str(error)) is not None


def is_lasting(error: BaseException) -> bool:
    """Returns whether a device is of no use to this process any more after an error.

    After such an error (an assertion in a kernel, an illegal address) every call of the device
    fails until the process ends, whoever makes it.
    """
    if not isinstance(error, RuntimeError):
        return False
    code = code_of(error)
    if code is not None:
        return code in _LASTING_CODES
    text = str(error)
    return _REPORTER.search(text) is not None and _LASTING.search(text) is not None


def code_of(error: BaseException) -> int | None:
    """Returns the number of an error of the device's runtime, as far as PyTorch tells it."""
    # Older versions of PyTorch have no such class.
    kind = getattr(torch, "AcceleratorError", None)
    code = getattr(error, "error_code", None)
    return code if kind is not None and isinstance(error, kind) and isinstance(code, int) else None
