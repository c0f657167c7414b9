"""The gate: the gRPC server of a front, with the health of what stands behind it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from adcaptum.service import logs
from adcaptum.service.front.error_table import TABLE
from adcaptum.service.front.forwarder import Forwarder
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.router import Router
from adcaptum.service.front.servicer import FrontServicer, Restart
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.protocols.oip.servicer import OipServicer
from adcaptum.service.rpc import health, listening
from adcaptum.service.rpc.interceptors import Interceptor
from adcaptum.service.rpc.local.calls import LocalCalls
from adcaptum.service.rpc.ports.joined_server import JoinedServer
from adcaptum.service.rpc.repository.change_handlers import Changes
from adcaptum.service.security.access import Access
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.views import SlotView

RETRY_SECONDS = 1.0
"""The time after which a request that a front refuses may be sent again."""


class Gate:
    """The calls of one front.

    Attributes:
        models: The names of all models of the workers.
        interceptor: The frame of its calls.
        calls: The same calls from inside this process.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: FrontMetrics,
        slots: Sequence[SlotView],
        *,
        quarantined: Mapping[str, str],
        is_suspect: Callable[[str], bool],
        quarantine: Quarantine,
        suspects: Suspects,
        restart: Restart,
        changes: Changes,
        access: Access,
        front: str = "0",
    ) -> None:
        """Prepares it; `start` lets calls in.

        Args:
            settings: The settings of the server.
            metrics: What is counted.
            slots: The places of the workers.
            quarantined: The reason of each model that is out of service.
            is_suspect: Returns whether a model has ended a worker lately.
            quarantine: The requests that are refused.
            suspects: The turn of requests with a strike.
            restart: Replaces workers.
            changes: The calls that load and unload models and move aliases.
            access: Who may call.
            front: The id of the front.
        """
        self._access = access
        self.models: set[str] = set()
        self.interceptor = Interceptor(
            metrics,
            self.models,
            settings.max_requests,
            lambda: RETRY_SECONDS,
            TABLE,
            max_bytes=settings.max_queue_bytes,
            guard=access.guard,
            audit=access.audit,
        )
        self._settings = settings
        self._slots = slots
        self._quarantined = quarantined
        self._health = health.Health()
        self._shown: dict[str, bool] = {}
        router = Router(slots, settings.worker_wait_seconds, is_suspect)
        forwarder = Forwarder(router, quarantine, quarantined, metrics, suspects)
        allowed = restart if settings.admin_calls or settings.has_credentials else None
        servicer = FrontServicer(
            forwarder,
            slots,
            quarantined,
            allowed,
            changes=changes,
            front=front if settings.fronts > 1 else "",
        )
        self._server = JoinedServer(
            listening.servers(),
            [self.interceptor],
            listening.options(settings),
            listening.most_calls(settings),
        )
        self.calls = LocalCalls([self.interceptor], settings.max_message_bytes)
        for each in (self._server, self.calls):
            each.add_generic_rpc_handlers(servicer.handlers())
        oip = OipServicer(self.calls, metrics.registry, self._unready)
        for each in (self._server, self.calls):
            each.add_generic_rpc_handlers((oip.handlers(),))
        health.register(self._health, self._server, reflects=settings.reflection)

    def listen(self) -> int:
        """Opens the port; returns its number.

        Raises:
            RuntimeError: It cannot be used.
        """
        return listening.open_port(self._server, self._settings, self._access.certificates)

    async def start(self) -> None:
        """Lets calls in."""
        await self._health.set_server(serving=False)
        self._access.start()
        await self._server.start()

    @property
    def ready(self) -> bool:
        """True if a worker serves."""
        return any(slot.process is not None and slot.process.ready for slot in self._slots)

    def _unready(self) -> str:
        if self.interceptor.draining:
            return "draining"
        return "" if self.ready else "workers start"

    async def update(self) -> None:
        """Bring the health up to date with what stands behind the gate."""
        serving: set[str] = set()
        for slot in self._slots:
            if slot.process is not None:
                self.models |= slot.process.known
                serving |= slot.process.serving if slot.process.ready else set()
        for name in self.models:
            is_serving = name in serving and name not in self._quarantined
            if self._shown.get(name) != is_serving:
                self._shown[name] = is_serving
                await self._health.set_model(name, serving=is_serving)
        if self._shown.get("") != self.ready:
            self._shown[""] = self.ready
            await self._health.set_server(serving=self.ready)

    async def drain(self) -> None:
        """Refuses new calls, and waits for those being served, for `drain_seconds` at most."""
        await self._health.drain()
        logs.logger().info("draining", in_flight=self.interceptor.in_flight)
        await self.interceptor.drain(self._settings.drain_seconds)

    async def stop(self, grace: float | None = None) -> None:
        """Closes the port and its connections."""
        await self._server.stop(grace=grace)
        self._access.stop()
        # Handlers that were cancelled end in the next pass.
        await asyncio.sleep(0)
