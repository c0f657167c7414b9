"""The retirement of versions that were taken out of service, until their memory is free."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final
from weakref import ref

from adcaptum.service import logs
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.dispatcher import Dispatcher

LOOK_SECONDS: Final = 0.1
"""The time between two looks at a version."""

LINGER_SECONDS: Final = 1.0
"""The time after its last work for which a version may live on: answers are on their way. What
lives longer is part of a circle of references, which only a collection frees."""

LATE_SECONDS: Final = 30.0
"""The time after which the log says that something keeps a version."""


class Retirement:
    """The versions that have requests to finish, or memory to free."""

    def __init__(
        self,
        engines: Dispatcher,
        forget: Callable[[ServedModel], None],
        collect: Callable[[], None],
        give_back: Callable[[], None],
    ) -> None:
        """Prepares it.

        Args:
            engines: What runs the models.
            forget: Has all others forget a version; it may be called again.
            collect: Frees circles of references; it holds up everything.
            give_back: Returns freed memory to the system; called in a thread.
        """
        self._engines = engines
        self._forget = forget
        self._collect = collect
        self._give_back = give_back
        self._tasks: set[asyncio.Task[None]] = set()

    def retire(self, served: ServedModel, freed: Callable[[], None]) -> None:
        """Takes over a version that new requests get no more.

        Args:
            served: The version; the caller keeps no reference to it.
            freed: Called when nothing of it is left in memory.
        """
        task = asyncio.create_task(self._follow(*_watched(served), freed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Follows no version any more."""
        for task in self._tasks:
            task.cancel()

    async def _follow(
        self,
        served: "ref[ServedModel]",
        module: "ref[object]",
        facts: dict[str, str],
        freed: Callable[[], None],
    ) -> None:
        begin = monotonic()
        idle: float | None = None
        collected = late = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = monotonic()
            if self._forgotten(served):
                idle = now if idle is None else idle
                if module() is None and served() is None:
                    break
                if now - idle > LINGER_SECONDS and not collected:
                    collected = True
                    self._collect()
                if now - idle > LATE_SECONDS and not late:
                    late = True
                    logs.logger().warning("something keeps an unloaded version", **facts)
            else:
                idle = None
        await asyncio.to_thread(self._give_back)
        freed()
        logs.logger().info("unloaded", **facts, seconds=round(monotonic() - begin, 3))

    def _forgotten(self, served: "ref[ServedModel]") -> bool:
        """Has everybody forget a version; returns whether no work of it is left."""
        left = served()
        if left is None:
            return True
        if not self._engines.forget(left):
            return False
        self._forget(left)
        return True


def _watched(served: ServedModel) -> "tuple[ref[ServedModel], ref[object], dict[str, str]]":
    identity = served.identity
    facts = {"model": identity.name, "version": identity.version, "digest": identity.digest}
    return ref(served), ref(served.loaded.module), facts
