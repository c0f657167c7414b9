"""The version loader: loads a version of a model, checks it, measures it and tries it.

Models load side by side, each on a thread of its own. What is measured is measured one model at a
time, so that models do not slow each other; a model that takes longer than `EXCLUSIVE_SECONDS`
there loses that privilege and holds nobody up. A factory that sleeps costs its own model only:
after `load_timeout_seconds` in one stage it has failed, and its thread is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import torch

from adcaptum.service import dry_run
from adcaptum.service.hosting.stages import Stages
from adcaptum.service.models import checks, curves as model_curves, loading
from adcaptum.service.models.curves import Curve
from adcaptum.service.models.layouts import choice
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository.stored_models import StoredModel, Version
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.settings import Settings

EXCLUSIVE_SECONDS: Final = 10.0
"""Seconds for which a model is measured while no other is."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version of a model that can serve.

    Attributes:
        served: The version.
        curves: The measured seconds of batches by rows, for each kind of evaluation.
        memory: The device memory of batches, likewise.
    """

    served: ServedModel
    curves: Mapping[str, Curve]
    memory: Mapping[str, tuple[int, int]]


class VersionLoader:
    """Loads, checks, measures and tries versions of models."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._device = torch.device(settings.device)
        self._exclusive = asyncio.Lock()

    async def prepare(self, stored: StoredModel, version: Version, stages: Stages) -> Prepared:
        """Brings a version to where it can serve.

        Raises:
            Exception: It cannot; factories and models are others' code.
        """
        allowed = self._settings.factory_packages
        loaded = await stages.run(
            "building and loading weights",
            partial(loading.load, stored, version, self._device, allowed),
        )
        return await self._exclusively(
            partial(stages.run, "measuring", partial(self._measure, loaded))
        )

    async def _exclusively(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does something while no other such thing begins, for `EXCLUSIVE_SECONDS` at most."""
        async with self._exclusive:
            task = asyncio.ensure_future(work())
            try:
                await asyncio.wait([task], timeout=EXCLUSIVE_SECONDS)
            except asyncio.CancelledError:
                task.cancel()
                raise
        return await task

    def _measure(self, loaded: LoadedModel) -> Prepared:
        target = self._settings.target_batch_seconds
        checked = checks.check(loaded)
        variant = choice.choose(loaded, checked, target)
        served = ServedModel.of(
            loaded, checked, variant, reference_bytes=self._settings.reference_bytes
        )
        curves = dict(model_curves.curves(served, target))
        memory = model_curves.memory(served, curves)
        dry_run.explain(served, curves)
        return Prepared(served, curves, memory)
