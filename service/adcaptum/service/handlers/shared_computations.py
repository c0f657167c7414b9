"""The registry of shared computations that are running, by the key of their requests."""

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers.shared_computation import SharedComputation


class SharedComputations:
    """The computations that identical requests may join."""

    def __init__(self) -> None:
        self._running: dict[bytes, SharedComputation] = {}

    def find(self, key: bytes | None, priority: Priority) -> SharedComputation | None:
        """Returns a computation that a request of a class may join; None if there is none."""
        found = None if key is None else self._running.get(key)
        if found is None or found.work.request.priority > priority:
            return None
        return found

    def add(self, key: bytes | None, computation: SharedComputation) -> None:
        """Registers a computation until it has ended; without a key it does nothing."""
        if key is not None:
            self._running[key] = computation

    def remove(self, key: bytes | None, computation: SharedComputation) -> None:
        """Removes a computation."""
        if key is not None and self._running.get(key) is computation:
            del self._running[key]
