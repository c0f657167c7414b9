"""How much memory a batch takes: the peak of the device while it runs.

The device has one such peak, whatever runs on it, so that only a batch tells anything that had the
device for itself from its beginning to its end.
"""

from threading import Lock
from typing import NamedTuple, Protocol

import torch


class Meter(Protocol):
    """What tells of a device's memory, in bytes."""

    def begin(self) -> int:
        """Returns what is in use, and begins to look for the peak anew."""
        ...

    def peak(self) -> int:
        """Returns the most that was in use since."""
        ...


class CudaMeter:
    """What PyTorch has allocated on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> int:
        """Returns what is in use, and begins to look for the peak anew."""
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """Returns the most that was in use since."""
        return torch.cuda.max_memory_allocated(self._device)


class Begun(NamedTuple):
    """A batch that runs.

    Attributes:
        number: Which it is, counted from 1.
        before: What was in use when it began; None: others ran.
    """

    number: int
    before: int | None


class BatchMemory:
    """Measures batches of several threads."""

    def __init__(self, meter: Meter | None) -> None:
        """Begins.

        Args:
            meter: What tells; None: nothing does.
        """
        self._meter = meter
        self._lock = Lock()
        self._running = 0
        self._number = 0

    @classmethod
    def of(cls, device: torch.device) -> "BatchMemory":
        """Returns what measures batches on a device."""
        return cls(CudaMeter(device) if device.type == "cuda" else None)

    def begin(self) -> Begun:
        """A batch begins."""
        with self._lock:
            self._number += 1
            self._running += 1
            if self._meter is None or self._running > 1:
                return Begun(self._number, None)
            return Begun(self._number, self._meter.begin())

    def end(self, begun: Begun) -> int | None:
        """A batch has ended, or failed; returns the bytes that it took, if that can be told."""
        with self._lock:
            self._running -= 1
            if self._meter is None or begun.before is None or begun.number != self._number:
                return None
            return max(0, self._meter.peak() - begun.before)
