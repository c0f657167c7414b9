"""The watch over a folder by the library watchfiles."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import watchfiles

STEP_MILLISECONDS: Final = 100
"""The time for which changes are gathered."""


async def watch(folder: Path) -> AsyncIterator[Iterable[Path]]:
    """Yields the paths that change in a folder, however deep."""
    changes = watchfiles.awatch(
        folder,
        watch_filter=None,
        debounce=STEP_MILLISECONDS,
        step=STEP_MILLISECONDS // 2,
        recursive=True,
    )
    async for found in changes:
        yield [Path(path) for _, path in found]
