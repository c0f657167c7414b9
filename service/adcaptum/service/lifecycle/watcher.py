"""The watcher: loads models whose folders change, and unloads those whose folders go.

A folder is loaded when nothing in it has changed for a while and its `model.toml` can be read: one
that is being copied is left alone. The loads are those of `ModelLifecycle`: what fails leaves what
serves.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

from adcaptum.service import logs
from adcaptum.service.lifecycle.model_lifecycle import ModelLifecycle
from adcaptum.service.placement.stored import DECLARATION
from adcaptum.service.settings import Settings

LOOK_SECONDS: Final = 0.1
"""The time between two looks at folders that have changed."""

Paths = AsyncIterator[Iterable[Path]]
"""The paths that have changed, again and again."""


class Watcher:
    """The watch over a repository."""

    def __init__(
        self,
        repository: Path,
        lifecycle: ModelLifecycle,
        settle_seconds: float,
        watch: Callable[[Path], Paths],
    ) -> None:
        """Prepares it.

        Args:
            repository: The folder of models.
            lifecycle: Loads and unloads them.
            settle_seconds: The time without a change after which a folder is taken for whole.
            watch: Watches a folder and all that is in it.
        """
        self._repository = repository.resolve()
        self._lifecycle = lifecycle
        self._settle_seconds = settle_seconds
        self._watch = watch
        # When each model that has changed last did so, on the monotonic clock.
        self._changed: dict[str, float] = {}
        self._loading: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watches until it is cancelled."""
        looking = asyncio.create_task(self._look())
        logs.logger().info("watching", repository=str(self._repository))
        try:
            async for paths in self._watch(self._repository):
                now = monotonic()
                self._changed.update(dict.fromkeys(self._models(paths), now))
        finally:
            looking.cancel()
            for task in self._loading:
                task.cancel()

    def _models(self, paths: Iterable[Path]) -> set[str]:
        """Returns the models to which paths belong; hidden folders belong to none."""
        parts = [path.relative_to(self._repository).parts for path in paths]
        return {each[0] for each in parts if each and not each[0].startswith(".")}

    async def _look(self) -> None:
        """Follows the changes of models that have settled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = monotonic()
            due = [n for n, at in self._changed.items() if now - at > self._settle_seconds]
            for name in due:
                del self._changed[name]
                task = asyncio.create_task(self._follow(name))
                self._loading.add(task)
                task.add_done_callback(self._loading.discard)

    async def _follow(self, name: str) -> None:
        folder = self._repository / name
        try:
            if not await asyncio.to_thread(folder.is_dir):
                await self._lifecycle.remove(name)
            elif await asyncio.to_thread(_is_declared, folder):
                await self._lifecycle.load(name)
        except Exception as error:  # noqa: BLE001 - the reason is in the model's state
            logs.logger().warning("a change was not taken over", model=name, reason=str(error))


async def watched(settings: Settings, lifecycle: ModelLifecycle) -> None:
    """Watches the repository where the settings say so, until it is cancelled."""
    if not settings.watch:
        return
    try:
        from adcaptum.service.lifecycle.watching import watch  # noqa: PLC0415 - an extra has it

        await Watcher(settings.repository, lifecycle, settings.settle_seconds, watch).run()
    except Exception as error:  # noqa: BLE001 - the server goes on without
        logs.logger().error("the repository is not watched any more", error=str(error))


def _is_declared(folder: Path) -> bool:
    """Returns whether a folder has a declaration, whole as TOML."""
    with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        tomllib.loads((folder / DECLARATION).read_text("utf-8"))
        return True
    return False
