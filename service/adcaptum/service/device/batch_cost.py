"""The cost of batches: what each takes of its device, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic

import torch

from adcaptum.engine.execution.devices.clock import batch_clock


class SharedTime:
    """The division of a device's time among those that use it; for any thread.

    While several use it, each is charged an equal part of the time. The charges add up to the time
    in which at least one used it.
    """

    __slots__ = ("_at", "_each", "_lock", "_users")

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._at = 0.0
        self._each = 0.0

    def begin(self, now: float) -> float:
        """Notes that one more uses the device from `now` on; returns what `end` wants."""
        with self._lock:
            self._advance(now)
            self._users += 1
            return self._each

    def end(self, begun: float, now: float) -> float:
        """Notes that one has ended at `now`; returns its charge, in seconds."""
        with self._lock:
            self._advance(now)
            self._users -= 1
            return self._each - begun

    def _advance(self, now: float) -> None:
        if self._users:
            self._each += max(0.0, now - self._at) / self._users
        self._at = now


class BatchCost:
    """The clock of a device's batches.

    On a processor each thread has a core, and its batch costs the time of that. Threads of an
    accelerator share it: what one waits for includes the kernels of the other.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepares the clock of a device."""
        self._device = device
        self._shared = None if device.type == "cpu" else SharedTime()

    def begin(self) -> Callable[[], float]:
        """Begins a batch of the calling thread; returns what gives its cost once it has ended."""
        if self._shared is None:
            clock = batch_clock(self._device)
            at = clock()
            return lambda: clock() - at
        shared = self._shared
        begun = shared.begin(monotonic())
        return lambda: shared.end(begun, monotonic())
