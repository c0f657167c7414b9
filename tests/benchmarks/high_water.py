"""The most memory that this process has held, in MiB.

Not getrusage's: in a process that was started by a large one, it begins with that one's.
"""

from __future__ import annotations

from pathlib import Path

_ROW = "VmHWM:"


def high_water() -> float:
    """The most resident memory since the process began, or since `reset`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(_ROW):
            return int(line.removeprefix(_ROW).split()[0]) / 2**10
    raise OSError(f"/proc/self/status has no {_ROW}")


def reset() -> None:
    """Begins anew with what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
