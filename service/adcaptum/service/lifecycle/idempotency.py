"""Idempotency keys: a call that is repeated with its key is answered once."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, Generic, TypeVar

from adcaptum.service.errors import Conflict, InvalidRequest, Reason
from adcaptum.service.nearest import shortened

A = TypeVar("A")

MOST_KEYS: Final = 1024
"""The most keys that are kept; the oldest go first."""

KEPT_SECONDS: Final = 3600.0
"""The time for which a key is kept."""

KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
KEY_RULE: Final = "1 to 128 visible ASCII characters"


class IdempotencyKeys(Generic[A]):
    """The calls that have come with a key, and their answers."""

    def __init__(self) -> None:
        # By key, oldest first: when it came, the digest of the body, and the call.
        self._calls: OrderedDict[str, tuple[float, bytes, asyncio.Task[A]]] = OrderedDict()

    async def once(self, key: str, body: bytes, call: Callable[[], Awaitable[A]]) -> A:
        """Returns the answer of a call, that of an earlier one with the same key if there is one.

        A call that failed is made again. One that has begun goes on when its caller leaves.

        Args:
            key: The key; empty: there is none.
            body: What is asked, without the key.
            call: Makes the call.

        Raises:
            InvalidRequest: The key has not the form of keys.
            Conflict: Another call had it.
        """
        if key and KEY.fullmatch(key) is None:
            raise InvalidRequest("idempotency_key", f"{shortened(key)} is not {KEY_RULE}")
        self._forget()
        digest = hashlib.blake2b(body, digest_size=16).digest()
        known = self._calls.get(key) if key else None
        if known is not None and known[1] != digest:
            raise Conflict(
                f"The idempotency key {shortened(key)} came with another request before.",
                reason=Reason.KEY_REUSED,
            )
        if known is None or _has_failed(known[2]):
            task = asyncio.ensure_future(_awaited(call))
            task.add_done_callback(_has_failed)
            if key:
                self._calls[key] = monotonic(), digest, task
        else:
            task = known[2]
        return await asyncio.shield(task)

    def _forget(self) -> None:
        """Forgets keys that are old, or too many."""
        while self._calls:
            came, _, task = next(iter(self._calls.values()))
            old = monotonic() - came > KEPT_SECONDS or len(self._calls) >= MOST_KEYS
            if not (old and task.done()):
                break
            self._calls.popitem(last=False)


async def _awaited(call: Callable[[], Awaitable[A]]) -> A:
    return await call()


def _has_failed(task: "asyncio.Task[A]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
