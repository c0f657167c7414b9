"""Settings of the memory allocator: memory that a batch frees stays for the next batch.

By default glibc returns large tensors to the system one by one, and every batch pays for the same
pages again (docs/decisions/0054-freed-memory-stays.md).
"""

import ctypes
import os
from typing import Final

# malloc.h
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT: Final = {
    # The largest threshold that glibc accepts; larger tensors return to the system when freed.
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 128 << 20,
    _TOP_PAD: 16 << 20,
}
"""The settings, in bytes."""


def keep_freed_memory() -> bool:
    """Sets the allocator of this process to keep freed memory; to be called early.

    Returns:
        Whether it was set: the C library is glibc, and its variables `MALLOC_…` are not set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(option, size) == 1 for option, size in KEPT.items()]
    return all(done)


def trim() -> None:
    """Returns memory that was freed and kept to the system, where the C library can."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
