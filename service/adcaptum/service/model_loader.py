"""The model loader: brings every model to READY, or to FAILED with the reason.

Models load side by side, each on a thread of its own, and each serves as soon as it is ready. What
is measured is measured one model at a time, so that models do not slow each other; a model that
takes longer than `EXCLUSIVE_SECONDS` there loses that privilege and holds nobody up. A factory that
sleeps costs its own model only: after `load_timeout_seconds` in one stage the model is FAILED
and its thread is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final, TypeVar

import torch

from adcaptum.service import dry_run, logs
from adcaptum.service.metrics import Metrics
from adcaptum.service.models import checks, cores, curves as model_curves, loading
from adcaptum.service.models.catalogue import Catalogue, State
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.curves import Curve
from adcaptum.service.models.daemon import in_daemon
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.failure_reason import ModelFailure, failure_reason
from adcaptum.service.models.layouts import choice
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models
from adcaptum.service.models.repository.stored_models import StoredModel, Version
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import LOADING, Journal
from adcaptum.service.processes.seat import Seat
from adcaptum.service.rpc.health import Health
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.settings import Settings

EXCLUSIVE_SECONDS: Final = 10.0
"""Seconds for which a model is measured while no other is."""

MOST_AT_ONCE: Final = 64
"""The most models that load at a time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A version of a model that can serve.

    Attributes:
        served: The version.
        curves: The measured seconds of batches by rows, for each kind of evaluation.
        memory: The device memory of batches, likewise.
    """

    served: ServedModel
    curves: Mapping[str, Curve]
    memory: Mapping[str, tuple[int, int]]


class ModelLoader:
    """Loads, checks, measures and tries the models, and divides the cores among device threads."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        metrics: Metrics,
        health: Health,
        engines: Dispatcher,
        *,
        unplaced: Mapping[str, str] = MappingProxyType({}),
        seat: Seat | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Prepares it.

        Args:
            settings: The settings of the server.
            catalogue: The models.
            metrics: Where they are counted.
            health: Where they serve.
            engines: What runs them.
            unplaced: The reason of each model for which there is no room.
            seat: The place under a supervisor; None without one.
            journal: Where is noted what loads; None: nowhere.
        """
        self._settings = settings
        self._catalogue = catalogue
        self._metrics = metrics
        self._health = health
        self._engines = engines
        self._device = torch.device(settings.device)
        self._threads = Threads(settings.device_threads or 1, settings.intra_op_threads or 1)
        self._exclusive = asyncio.Lock()
        self._prepared: dict[ServedModel, _Prepared] = {}
        self._quarantined = () if seat is None else seat.quarantined
        self._elsewhere = () if seat is None else seat.elsewhere
        self._unplaced = unplaced
        one_by_one = seat is not None and seat.one_by_one
        self._places = asyncio.Semaphore(1 if one_by_one else MOST_AT_ONCE)
        self._journal = journal

    async def load_all(self, ready: Callable[[Threads], Awaitable[None]]) -> None:
        """Loads every model.

        Args:
            ready: Awaited once, with the division of the cores, when the server may call itself
                ready: no model loads any more, or `ready_after_seconds` have passed and one serves.
        """
        for entry in self._catalogue:
            await self._health.set_model(entry.name, serving=False)
        self._engines.start(self._threads)
        tasks = [asyncio.create_task(self._load_noted(entry.name)) for entry in self._catalogue]
        try:
            late = await self._until_ready(tasks)
            await self._divide_cores()
            await ready(self._threads)
            if late:
                await asyncio.wait(late)
                await self._divide_cores()
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def _until_ready(self, tasks: list[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Waits until the server is ready; returns the tasks of models that still load."""
        if not tasks:
            return set()
        done, late = await asyncio.wait(tasks, timeout=self._settings.ready_after_seconds)
        while late and not any(entry.state is State.READY for entry in self._catalogue):
            more, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        for task in done:
            task.result()
        return late

    async def _load_noted(self, name: str) -> None:
        """Loads a model, unless it must not be loaded, and notes that in the journal."""
        if name in self._elsewhere:
            self._catalogue.set_elsewhere(name)
            return
        if name in self._unplaced:
            self._catalogue.set_failed(name, self._unplaced[name])
            return
        if name in self._quarantined:
            self._catalogue.set_failed(name, "it ended worker processes repeatedly")
            return
        async with self._places:
            slot = None if self._journal is None else self._journal.begin(LOADING, name)
            try:
                await self._load(name)
            finally:
                if self._journal is not None:
                    self._journal.end(slot)

    async def _load(self, name: str) -> None:
        """Brings a model to READY or FAILED."""
        begin = monotonic()
        stages = _Stages(name, self._settings)
        try:
            folder = self._settings.repository / name
            stored = await stages.run("reading", partial(stored_models.open_model, folder))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other models load
            self._catalogue.set_failed(name, self._log_failure(name, "", error))
            return
        self._catalogue.set_stored(name, stored)
        prepared, failures = list[_Prepared](), dict[str, str]()
        for version in stored.versions.values():
            try:
                prepared.append(await self._prepare(stored, version, stages))
            except Exception as error:  # noqa: BLE001  # factories and models are others' code
                failures[version.name] = self._log_failure(name, version.name, error)
        if prepared:
            await self._serve(stored, prepared, failures, monotonic() - begin)
        else:
            self._catalogue.set_failed(name, failures[stored.default_version], failures)

    async def _prepare(self, stored: StoredModel, version: Version, stages: "_Stages") -> _Prepared:
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

    def _measure(self, loaded: LoadedModel) -> _Prepared:
        target = self._settings.target_batch_seconds
        checked = checks.check(loaded)
        variant = choice.choose(loaded, checked, target)
        served = ServedModel.of(
            loaded, checked, variant, reference_bytes=self._settings.reference_bytes
        )
        curves = dict(model_curves.curves(served, target))
        memory = model_curves.memory(served, curves)
        dry_run.explain(served, curves)
        return _Prepared(served, curves, memory)

    async def _serve(
        self,
        stored: StoredModel,
        prepared: list[_Prepared],
        failures: Mapping[str, str],
        seconds: float,
    ) -> None:
        name = stored.declaration.name
        for each in prepared:
            self._engines.add(each.served, each.curves, each.memory)
            self._prepared[each.served] = each
            self._log_loaded(each, seconds)
        self._catalogue.set_ready(
            name, {each.served.identity.version: each.served for each in prepared}, failures
        )
        self._metrics.model_load_seconds.labels(name).set(seconds)
        for each in prepared:
            self._metrics.model_ready.labels(name, each.served.identity.version).set(1)
        # A health check names no version.
        await self._health.set_model(name, serving=stored.default_version not in failures)

    def _log_failure(self, name: str, version: str, error: Exception) -> str:
        """Logs that a model, or one version of it, does not load; returns the reason."""
        reason = failure_reason(error)
        # A stack trace helps where code failed, and hides the message of a declaration error.
        traced = not isinstance(error, DeclarationError | _TooSlow)
        logs.logger().error(
            "a model does not load",
            model=name,
            version=version,
            reason=reason,
            exc_info=error if traced else None,
        )
        self._metrics.model_ready.labels(name, version).set(0)
        return reason

    def _log_loaded(self, prepared: _Prepared, seconds: float) -> None:
        served, curves = prepared.served, prepared.curves
        variant = served.variant
        logs.logger().info(
            "loaded",
            model=served.name,
            version=served.identity.version,
            digest=served.loaded.digest,
            seconds=round(seconds, 3),
            independent=served.checks.independent,
            dependence=served.checks.dependence,
            differentiable=served.checks.differentiable,
            obstacle=served.checks.obstacle,
            variant=variant.name,
            variant_distance=variant.distance._asdict(),
            variant_rounding=variant.trials.rounding._asdict(),
            variant_rows_per_second=dict(variant.trials.rows_per_second),
            variant_failures=dict(variant.trials.failures),
            light=self._engines.is_light(served),
            row_seconds={kind: model_curves.row_seconds(curve) for kind, curve in curves.items()},
            batch_rows={kind: model_curves.best_rows(curve) for kind, curve in curves.items()},
        )

    async def _divide_cores(self) -> None:
        """Divides the cores by trial on the model whose rows cost most, and starts the threads."""
        settings = self._settings
        if settings.device_threads and settings.intra_op_threads:
            return
        costs = {
            served: each.curves.get("gradient") or each.curves["forward"]
            for served, each in self._prepared.items()
        }
        try:
            async with asyncio.timeout(EXCLUSIVE_SECONDS):
                measured = await in_daemon(
                    partial(cores.divide_cores, list(costs), costs, self._device), "cores"
                )
        except Exception as error:  # noqa: BLE001  # a model failed or hung; the server can serve
            logs.logger().warning("the cores were not divided by trial", exc_info=error)
            return
        self._threads = Threads(
            settings.device_threads or measured.device,
            settings.intra_op_threads or measured.intra_op,
        )
        self._engines.start(self._threads)


class _TooSlow(ModelFailure):
    """A stage of loading exceeded `load_timeout_seconds`."""


class _Stages:
    """The stages of one model's loading, each on a thread of its own and within the timeout."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._seconds = settings.load_timeout_seconds
        # Curves are measured with the threads that a device thread has if cores are divided so.
        self._intra_op = settings.intra_op_threads or 1

    async def run(self, stage: str, work: Callable[[], T]) -> T:
        """Runs a stage.

        Raises:
            _TooSlow: It took too long.
            Exception: Its own errors.
        """

        def run() -> T:
            torch.set_num_threads(self._intra_op)
            return work()

        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await in_daemon(run, f"load {self._name}")
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _TooSlow(
                f"it did not load within {self._seconds:g} s (load_timeout_seconds): {stage} has "
                "not ended"
            ) from error
