"""The memory of a batch: the device's peak while the batch runs.

The device has one peak for everything that runs on it. A batch has a measurement only if no other
batch ran between its beginning and its end.
"""

from threading import Lock
from typing import NamedTuple, Protocol

import torch


class Meter(Protocol):
    """A meter of a device's memory, in bytes."""

    def begin(self) -> int:
        """Returns the bytes in use, and resets the peak."""
        ...

    def peak(self) -> int:
        """Returns the most bytes in use since."""
        ...


class CudaMeter:
    """The bytes that PyTorch has allocated on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> int:
        """Returns the bytes in use, and resets the peak."""
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """Returns the most bytes in use since."""
        return torch.cuda.max_memory_allocated(self._device)


class Begun(NamedTuple):
    """A running batch.

    Attributes:
        number: Its number, counted from 1.
        before: The bytes in use when it began; None: other batches ran.
    """

    number: int
    before: int | None


class BatchMemory:
    """The measurement of batches of several threads."""

    def __init__(self, meter: Meter | None) -> None:
        """Prepares the measurement.

        Args:
            meter: The meter of the device; None: it has none.
        """
        self._meter = meter
        self._lock = Lock()
        self._running = 0
        self._number = 0

    @classmethod
    def of(cls, device: torch.device) -> "BatchMemory":
        """Returns the measurement of batches on a device."""
        return cls(CudaMeter(device) if device.type == "cuda" else None)

    def begin(self) -> Begun:
        """Notes that a batch begins."""
        with self._lock:
            self._number += 1
            self._running += 1
            if self._meter is None or self._running > 1:
                return Begun(self._number, None)
            return Begun(self._number, self._meter.begin())

    def end(self, begun: Begun) -> int | None:
        """Notes that a batch has ended or failed; returns its bytes, if they could be measured."""
        with self._lock:
            self._running -= 1
            if self._meter is None or begun.before is None or begun.number != self._number:
                return None
            return max(0, self._meter.peak() - begun.before)
