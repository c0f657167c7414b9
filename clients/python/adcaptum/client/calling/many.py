"""Many requests, some of them at a time."""

import asyncio
import importlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from contextvars import copy_context
from itertools import islice
from typing import Any, Final, Self

from adcaptum.client.codec.inputs import Inputs
from adcaptum.client.errors import AdcaptumError, ResourceExhausted
from adcaptum.client.results.answer import Answer
from adcaptum.client.results.explanations import Explanations

AHEAD: Final = 2
"""Requests that are under way or answered before their turn, in numbers of those at a time."""

MOST_REFUSALS: Final = 5
"""Times that a request is sent again because the server had too much work."""


def explain_many(
    ask: Callable[[Inputs], Explanations],
    inputs: Iterable[Inputs],
    *,
    concurrency: int,
    ordered: bool,
    progress: bool,
) -> Iterator[Answer]:
    """Ask in threads, and yield the answers."""

    def answer(index: int, given: Inputs) -> Answer:
        for refused in range(MOST_REFUSALS + 1):
            try:
                return Answer(index, None, ask(given))
            except AdcaptumError as error:
                seconds = _pause(error, refused)
                if seconds is None:
                    return Answer(index, error)
            time.sleep(seconds)
        raise AssertionError("the last refusal is an answer")

    _check(concurrency)
    source = iter(enumerate(inputs))
    pending: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="adcaptum-explain")
    with _Bar(inputs, shown=progress) as bar:
        try:
            while True:
                room = concurrency * AHEAD - len(pending)
                for index, given in islice(source, room):
                    pending.append(pool.submit(copy_context().run, answer, index, given))
                if not pending:
                    return
                if not ordered:
                    done = wait(pending, return_when=FIRST_COMPLETED).done
                    pending = deque(sorted(pending, key=lambda each: each not in done))
                yield pending.popleft().result()
                bar.advance()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


async def explain_many_async(
    ask: Callable[[Inputs], Awaitable[Explanations]],
    inputs: Iterable[Inputs],
    *,
    concurrency: int,
    ordered: bool,
    progress: bool,
) -> AsyncIterator[Answer]:
    """Ask in tasks, and yield the answers."""
    _check(concurrency)
    room = asyncio.Semaphore(concurrency)

    async def answer(index: int, given: Inputs) -> Answer:
        async with room:
            for refused in range(MOST_REFUSALS + 1):
                try:
                    return Answer(index, None, await ask(given))
                except AdcaptumError as error:
                    seconds = _pause(error, refused)
                    if seconds is None:
                        return Answer(index, error)
                await asyncio.sleep(seconds)
            raise AssertionError("the last refusal is an answer")

    source = iter(enumerate(inputs))
    pending: deque[asyncio.Task[Answer]] = deque()
    with _Bar(inputs, shown=progress) as bar:
        try:
            while True:
                for index, given in islice(source, concurrency * AHEAD - len(pending)):
                    pending.append(asyncio.create_task(answer(index, given)))
                if not pending:
                    return
                if not ordered:
                    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    pending = deque(sorted(pending, key=lambda each: each not in done))
                # It stays among the pending ones, which are cancelled if the reader leaves.
                await pending[0]
                yield pending.popleft().result()
                bar.advance()
        finally:
            for task in pending:
                task.cancel()


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}, must be at least 1")


def _pause(error: AdcaptumError, refused: int) -> float | None:
    """Return the seconds after which to ask again; None if that cannot help."""
    if refused == MOST_REFUSALS or not isinstance(error, ResourceExhausted):
        return None
    return error.retry_after_s


class _Bar:
    """A progress bar of tqdm, or of rich, or none."""

    def __init__(self, inputs: object, *, shown: bool) -> None:
        self._total = len(inputs) if isinstance(inputs, Sized) else None
        self._shown = shown
        self._stack = ExitStack()
        self._advance: Callable[[], Any] = lambda: None

    def __enter__(self) -> Self:
        if not self._shown:
            return self
        try:
            tqdm = importlib.import_module("tqdm").tqdm(total=self._total, desc="explain")
            self._stack.enter_context(closing(tqdm))
            self._advance = tqdm.update
        except ImportError:
            self._begin_rich()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def advance(self) -> None:
        """Show one more answer."""
        self._advance()

    def _begin_rich(self) -> None:
        try:
            progress = importlib.import_module("rich.progress").Progress()
        except ImportError:
            return
        self._stack.enter_context(progress)
        task = progress.add_task("explain", total=self._total)
        self._advance = lambda: progress.advance(task)
