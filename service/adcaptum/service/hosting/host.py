"""The host: the parts that load and unload the models of one process, put together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

from adcaptum.service.hosting import garbage
from adcaptum.service.hosting.local_lifecycle import LocalLifecycle
from adcaptum.service.hosting.model_loader import ModelLoader
from adcaptum.service.hosting.retirement import Retirement
from adcaptum.service.hosting.showcase import Showcase
from adcaptum.service.lifecycle.alias_store import AliasStore
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import Journal
from adcaptum.service.processes.seat import Seat
from adcaptum.service.rpc.health import Health
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.settings import Settings


@dataclass(frozen=True, slots=True)
class Host:
    """The parts that load and unload models.

    Attributes:
        lifecycle: Loads and unloads them.
        loader: Loads them all at the start.
    """

    lifecycle: LocalLifecycle
    loader: ModelLoader

    @classmethod
    def of(
        cls,
        settings: Settings,
        catalogue: Catalogue,
        metrics: Metrics,
        health: Health,
        engines: Dispatcher,
        *,
        unplaced: Mapping[str, str],
        seat: Seat | None,
        journal: Journal | None,
        forget: Callable[[ServedModel], None],
        is_guest: bool,
    ) -> Self:
        """Puts them together.

        Args:
            settings: The settings of the server.
            catalogue: The models.
            metrics: Where they are counted.
            health: Where they serve.
            engines: What runs them.
            unplaced: The reason of each model for which there is no room.
            seat: The place under a supervisor; None without one.
            journal: Where is noted what loads; None: nowhere.
            forget: Called with versions that were taken out of service.
            is_guest: Whether the process, and so its garbage, is another program's.
        """
        showcase = Showcase(engines, metrics, health)
        collect = partial(garbage.collect, frozen=not is_guest)
        lifecycle = LocalLifecycle(
            settings,
            catalogue,
            showcase,
            # The supervisor's process writes.
            AliasStore(settings.repository, shared=seat is not None),
            Retirement(engines, forget, collect, garbage.give_back),
            versions={} if seat is None else seat.versions,
            journal=journal,
        )
        loader = ModelLoader(
            settings, catalogue, lifecycle, showcase, engines, unplaced=unplaced, seat=seat
        )
        return cls(lifecycle, loader)
