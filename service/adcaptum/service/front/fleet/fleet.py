"""The fleet, put together for the calls that change it."""

from adcaptum.service.front.fleet.fleet_lifecycle import FleetLifecycle
from adcaptum.service.front.fleet.fleet_view import FleetView
from adcaptum.service.lifecycle.alias_store import AliasStore
from adcaptum.service.lifecycle.model_lifecycle import ModelLifecycle
from adcaptum.service.rpc.repository.lifecycle_calls import LifecycleCalls
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.supervisor import Supervisor


class Fleet:
    """The models of all workers.

    Attributes:
        lifecycle: Loads and unloads them.
        calls: The calls of RepositoryService that do so.
    """

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        view, store = FleetView(supervisor.slots), AliasStore(settings.repository)
        self.lifecycle: ModelLifecycle = FleetLifecycle(settings, supervisor, view, store)
        allowed = settings.admin_calls or settings.has_credentials
        self.calls = LifecycleCalls(self.lifecycle, view.describe, allowed=allowed)
