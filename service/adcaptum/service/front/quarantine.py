"""The quarantine: requests that ended two workers are refused for a time."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

MOST: Final = 10_000
"""The most requests in quarantine; the oldest are let out first."""


class Quarantine:
    """The digests of requests that ended workers."""

    def __init__(self, seconds: float, tell: Callable[[bytes], None] = lambda _: None) -> None:
        """Prepares it.

        Args:
            seconds: The time that a request stays in it.
            tell: Called with the digest of each request that `add` puts in.
        """
        self._seconds = seconds
        self._tell = tell
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Returns the number of requests in it."""
        return len(self._until)

    def add(self, rpc: str, body: bytes) -> None:
        """Puts a request in."""
        digest = _digest(rpc, body)
        self.put(digest)
        self._tell(digest)

    def put(self, digest: bytes, seconds: float | None = None) -> None:
        """Puts a request in that another front has put in.

        Args:
            digest: Its digest.
            seconds: The time that it stays; None: as long as any.
        """
        self._until[digest] = monotonic() + (self._seconds if seconds is None else seconds)
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

    def digests(self) -> list[tuple[bytes, float]]:
        """Returns the digests of the requests in it, with the seconds that each stays."""
        now = monotonic()
        return [(digest, until - now) for digest, until in self._until.items()]

    def clear(self) -> None:
        """Lets all requests out."""
        self._until.clear()


def _digest(rpc: str, body: bytes) -> bytes:
    kind = "predict" if rpc == "Predict" else "explain"
    return hashlib.blake2b(body, digest_size=16, person=kind.encode()).digest()
