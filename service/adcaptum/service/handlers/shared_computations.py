"""The registry of computations that are running, by the key of their requests."""

from typing import Generic, Protocol, TypeVar

from adcaptum.engine.scheduling.priority import Priority


class Shareable(Protocol):
    """A computation that identical requests may join."""

    @property
    def priority(self) -> Priority:
        """Its class."""
        ...

    @property
    def joinable(self) -> bool:
        """True if a request that comes now is answered with the others."""
        ...


C = TypeVar("C", bound=Shareable)


class SharedComputations(Generic[C]):
    """The computations that identical requests may join."""

    def __init__(self) -> None:
        self._running: dict[bytes, C] = {}

    def find(self, key: bytes | None, priority: Priority) -> C | None:
        """Returns a computation that a request of a class may join; None if there is none."""
        found = None if key is None else self._running.get(key)
        if found is None or found.priority > priority or not found.joinable:
            return None
        return found

    def add(self, key: bytes | None, computation: C) -> None:
        """Registers a computation until it has ended; without a key it does nothing."""
        if key is not None:
            self._running[key] = computation

    def remove(self, key: bytes | None, computation: C) -> None:
        """Removes a computation."""
        if key is not None and self._running.get(key) is computation:
            del self._running[key]
