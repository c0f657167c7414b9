"""Has the C library keep the memory that batches free, for the next batch.

Left to itself glibc gives large tensors back to the system one by one, and every batch pays for
getting the same pages again: a small ResNet's gradients took 1.2 to 1.5 times the processor time
(32 and 16 rows, in a thread) for 10 MiB of memory less.
"""

import ctypes
import os
from typing import Final

# malloc.h
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT: Final = {
    # The largest that glibc takes: what is larger goes back when it is freed.
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 128 << 20,
    _TOP_PAD: 16 << 20,
}
"""The settings, in bytes."""


def keep_freed_memory() -> bool:
    """Changes the allocator of this process, before it has allocated much.

    Returns:
        Whether it was changed: there is glibc, and nobody has set it up by its own variables.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(option, size) == 1 for option, size in KEPT.items()]
    return all(done)
