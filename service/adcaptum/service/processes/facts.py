"""Facts about processes from the kernel."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
GROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""The files with the memory that a container may use, of both versions of control groups."""


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process; 0 if it is unknown."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def kills_for_memory() -> int:
    """Returns how many processes the kernel has killed for want of memory; 0 if it is unknown."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(found[0]) if found else 0


def machine_bytes() -> int:
    """Returns the memory of the machine, or of this process's group; 0 if it is unknown."""
    try:
        line = Path("/proc/meminfo").read_text("ascii").splitlines()[0]
        found = int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0
    for path in GROUP_LIMITS:
        with suppress(OSError, ValueError):
            found = min(found, int(path.read_text("ascii")))
    return found
