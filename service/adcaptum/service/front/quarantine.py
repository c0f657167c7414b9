"""The quarantine: requests that ended two workers are refused for a time."""

import hashlib
from collections import OrderedDict
from time import monotonic
from typing import Final

MOST: Final = 10_000
"""The most requests in quarantine; the oldest are let out first."""


class Quarantine:
    """The digests of requests that ended workers."""

    def __init__(self, seconds: float) -> None:
        """Prepares it.

        Args:
            seconds: The time that a request stays in it.
        """
        self._seconds = seconds
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Returns the number of requests in it."""
        return len(self._until)

    def add(self, rpc: str, body: bytes) -> None:
        """Puts a request in."""
        digest = _digest(rpc, body)
        self._until[digest] = monotonic() + self._seconds
        self._until.move_to_end(digest)
        while len(self._until) > MOST:
            self._until.popitem(last=False)

    def holds(self, rpc: str, body: bytes) -> bool:
        """Returns whether a request is in it."""
        if not self._until:
            return False
        now = monotonic()
        while self._until and next(iter(self._until.values())) < now:
            self._until.popitem(last=False)
        return bool(self._until) and _digest(rpc, body) in self._until

    def clear(self) -> None:
        """Lets all requests out."""
        self._until.clear()


def _digest(rpc: str, body: bytes) -> bytes:
    kind = "predict" if rpc == "Predict" else "explain"
    return hashlib.blake2b(body, digest_size=16, person=kind.encode()).digest()
