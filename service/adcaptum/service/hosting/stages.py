"""The stages of a model's loading, each on a thread of its own and within a time."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from adcaptum.service.models.daemon import in_daemon
from adcaptum.service.models.failure_reason import ModelFailure
from adcaptum.service.settings import Settings

T = TypeVar("T")


class TooSlow(ModelFailure):
    """A stage of loading exceeded `load_timeout_seconds`."""


class Stages:
    """The stages of one model's loading."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._seconds = settings.load_timeout_seconds
        # Curves are measured with the threads that a device thread has if cores are divided so.
        self._intra_op = settings.intra_op_threads or 1

    async def run(self, stage: str, work: Callable[[], T]) -> T:
        """Runs a stage.

        Raises:
            TooSlow: It took too long.
            Exception: Its own errors.
        """
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await in_daemon(partial(self._run, work), f"load {self._name}")
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TooSlow(
                f"it did not load within {self._seconds:g} s (load_timeout_seconds): {stage} has "
                "not ended"
            ) from error

    def _run(self, work: Callable[[], T]) -> T:
        torch.set_num_threads(self._intra_op)
        return work()
