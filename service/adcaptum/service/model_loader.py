"""Brings every model of the repository to READY, or to UNAVAILABLE with the reason."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import torch

from adcaptum.service import logs
from adcaptum.service.metrics import Metrics
from adcaptum.service.models import checks, loading, repository, warm_up
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.models.layouts import choice
from adcaptum.service.models.repository import StoredModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.models.warm_up import Curve, Threads
from adcaptum.service.rpc.health import Health
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.settings import Settings


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A model that could serve.

    Attributes:
        versions: By name.
        curves: What was measured, by version and kind.
        memory: What batches take of the device's memory, likewise.
        seconds: How long it took.
    """

    versions: dict[str, ServedModel]
    curves: dict[str, dict[str, Curve]]
    memory: dict[str, Mapping[str, tuple[int, int]]]
    seconds: float


class ModelLoader:
    """Loads, checks and measures the models, then starts the engine."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        metrics: Metrics,
        health: Health,
        engines: Dispatcher,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._metrics = metrics
        self._health = health
        self._engines = engines
        self._device = torch.device(settings.device)

    async def load_all(self) -> Threads:
        """Loads every model; returns how the cores were divided.

        A model that fails is UNAVAILABLE and keeps nobody from serving.
        """
        for entry in self._catalogue:
            await self._health.set_model(entry.name, serving=False)
        prepared: dict[str, _Prepared] = {}
        for entry in self._catalogue:
            made = await self._load(entry.name)
            if made is not None:
                prepared[entry.name] = made
        threads = await asyncio.to_thread(self._divide_cores, prepared)
        self._engines.start(threads)
        for name, made in prepared.items():
            self._catalogue.set_ready(name, made.versions)
            self._metrics.model_load_seconds.labels(name).set(made.seconds)
            for version in made.versions:
                self._metrics.model_ready.labels(name, version).set(1)
            await self._health.set_model(name, serving=True)
        return threads

    async def _load(self, name: str) -> _Prepared | None:
        try:
            folder = self._settings.repository / name
            stored = await asyncio.to_thread(repository.open_model, folder)
            self._catalogue.set_stored(name, stored)
            prepared = await asyncio.to_thread(self._prepare, stored)
        except Exception as error:  # noqa: BLE001  # factories and models are others' code
            logs.logger().exception("a model does not load", model=name)
            self._catalogue.set_unavailable(name, f"{type(error).__name__}: {error}")
            self._metrics.model_ready.labels(name, "").set(0)
            return None
        for version, served in prepared.versions.items():
            kinds = prepared.curves[version]
            self._engines.add(served, kinds, prepared.memory[version])
            logs.logger().info(
                "loaded",
                model=name,
                version=version,
                digest=served.loaded.digest,
                seconds=round(prepared.seconds, 3),
                independent=served.checks.independent,
                dependence=served.checks.dependence,
                differentiable=served.checks.differentiable,
                obstacle=served.checks.obstacle,
                variant=served.variant.name,
                variant_distance=served.variant.distance._asdict(),
                variant_rounding=served.variant.trials.rounding._asdict(),
                variant_rows_per_second=dict(served.variant.trials.rows_per_second),
                variant_failures=dict(served.variant.trials.failures),
                light=self._engines.is_light(served),
                row_seconds={kind: warm_up.row_seconds(curve) for kind, curve in kinds.items()},
                batch_rows={kind: warm_up.best_rows(curve) for kind, curve in kinds.items()},
            )
        return prepared

    def _prepare(self, stored: StoredModel) -> _Prepared:
        begin = monotonic()
        # The curves are those of one thread: what a device thread has, if cores are divided so.
        torch.set_num_threads(self._settings.intra_op_threads or 1)
        versions: dict[str, ServedModel] = {}
        curves: dict[str, dict[str, Curve]] = {}
        memory: dict[str, Mapping[str, tuple[int, int]]] = {}
        for name, version in stored.versions.items():
            loaded = loading.load(stored, version, self._device)
            checked = checks.check(loaded)
            variant = choice.choose(loaded, checked, self._settings.target_batch_seconds)
            served = ServedModel.of(
                loaded, checked, variant, reference_bytes=self._settings.reference_bytes
            )
            versions[name] = served
            curves[name] = dict(warm_up.curves(served, self._settings.target_batch_seconds))
            memory[name] = warm_up.memory(served, curves[name])
        return _Prepared(versions, curves, memory, monotonic() - begin)

    def _divide_cores(self, prepared: dict[str, _Prepared]) -> Threads:
        settings = self._settings
        if settings.device_threads and settings.intra_op_threads:
            return Threads(settings.device_threads, settings.intra_op_threads)
        costs = {
            served: made.curves[version].get("gradient") or made.curves[version]["forward"]
            for made in prepared.values()
            for version, served in made.versions.items()
        }
        measured = warm_up.divide_cores(list(costs), costs, self._device)
        return Threads(
            settings.device_threads or measured.device,
            settings.intra_op_threads or measured.intra_op,
        )
