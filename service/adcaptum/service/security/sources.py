"""Sources: files and addresses that are read again when they change, while calls are served."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from adcaptum.service import logs
from adcaptum.service.security.metrics import SecurityMetrics

LOOK_SECONDS: Final = 1.0
"""The time between two looks at a file."""

T = TypeVar("T")
State = tuple[tuple[int, int, int], ...]


def state_of(*paths: Path) -> State:
    """Returns what changes with the content of files.

    Raises:
        OSError: One is not there.
    """
    found = [path.stat() for path in paths]
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


class Source(Generic[T]):
    """The content of files that was last read and could be used.

    Attributes:
        value: It.
    """

    def __init__(
        self,
        name: str,
        paths: tuple[Path, ...],
        read: Callable[[], T],
        metrics: SecurityMetrics,
        changed: Callable[[T], None] = lambda _: None,
    ) -> None:
        """Reads the files.

        Args:
            name: Its name, for metrics and log.
            paths: The files.
            read: Reads them.
            metrics: What is counted.
            changed: Called in the event loop with what was read anew.

        Raises:
            Exception: They cannot be read.
        """
        self._name = name
        self._paths = paths
        self._read = read
        self._metrics = metrics
        self._changed = changed
        self._state = state_of(*paths)
        self.value = read()
        self._note("ok")

    async def keep(self) -> None:
        """Reads the files whenever they have changed; what cannot be used leaves the old."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Reads the files if they have changed."""
        try:
            found = await asyncio.to_thread(self._new)
        except Exception as error:  # noqa: BLE001  # whatever it is, the old one stays
            self._note("error")
            logs.logger().error("the old one stays", source=self._name, error=str(error))
            return
        if found is not None:
            (self.value,) = found
            self._changed(self.value)
            self._note("ok")
            logs.logger().info("read again", source=self._name)

    def _new(self) -> tuple[T] | None:
        """Returns what the files have if they have changed."""
        try:
            state = state_of(*self._paths)
        except OSError:
            # Told once, as long as it stays so.
            if self._state == ():
                return None
            self._state = ()
            raise
        if state == self._state:
            return None
        # A file that changes once more while it is read has another state at the next look.
        self._state = state
        return (self._read(),)

    def _note(self, result: str) -> None:
        self._metrics.loads.labels(self._name, result).inc()
        self._metrics.stale.labels(self._name).set(int(result != "ok"))
