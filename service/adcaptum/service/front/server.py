"""The composition root of a front: builds it, starts it with its workers, drains it."""

import asyncio
import os
import signal
from time import monotonic
from typing import Final

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection
from prometheus_client import disable_created_metrics

from adcaptum.service import logs
from adcaptum.service.front import merging
from adcaptum.service.front.error_table import TABLE
from adcaptum.service.front.forwarder import Forwarder
from adcaptum.service.front.gathered_metrics import GatheredMetrics
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.router import Router
from adcaptum.service.front.servicer import FrontServicer
from adcaptum.service.processes.facts import resident_bytes
from adcaptum.service.rpc import health, listening
from adcaptum.service.rpc.interceptors import Interceptor
from adcaptum.service.rpc.listening import CannotStart
from adcaptum.service.rpc.web import http
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.supervisor import Supervisor
from adcaptum.service.supervisor.worker_process import WorkerProcess

LOOK_SECONDS: Final = 0.25
"""The time between two looks at the workers."""

RETRY_SECONDS: Final = 1.0
"""The time after which a request that the front refuses may be sent again."""


def run(settings: Settings, devices: list[str]) -> None:
    """Runs a front and its workers until SIGTERM or SIGINT; in-flight requests finish.

    Args:
        settings: The settings of the server.
        devices: The device of each worker.

    Raises:
        SystemExit: It failed; the log says why.
    """
    logs.configure(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    main = Front(settings, devices).serve()
    try:
        failed = uvloop.run(main) if settings.uvloop else asyncio.run(main)
    except CannotStart as error:
        logs.logger().error("cannot start", error=str(error))
        raise SystemExit(1) from error
    if failed:
        raise SystemExit(1)


class Front:
    """One front process. It imports no torch and no model's code: no crash of these reaches it."""

    def __init__(self, settings: Settings, devices: list[str]) -> None:
        self._settings = settings
        self._devices = devices
        self._metrics = FrontMetrics()
        self._metrics.expect(map(str, range(len(devices))), settings.worker_memory_bytes)
        self._models: set[str] = set()
        self._health = health.Health()
        self._quarantine = Quarantine(settings.quarantine_seconds)
        self._ready = False
        self._begin = monotonic()
        self._ended = asyncio.Event()
        self._interceptor = Interceptor(
            self._metrics, self._models, settings.max_requests, lambda: RETRY_SECONDS, TABLE
        )

    async def serve(self) -> bool:
        """Serves until a signal comes; returns whether it failed."""
        settings = self._settings
        supervisor = self._supervisor = Supervisor(settings, self._devices, self._count)
        deaths = supervisor.deaths
        router = Router(supervisor.slots, settings.worker_wait_seconds, deaths.is_suspect)
        forwarder = Forwarder(router, self._quarantine, deaths.quarantined, self._metrics)
        servicer = FrontServicer(forwarder, supervisor.slots, deaths.quarantined)
        server = grpc.aio.server(
            interceptors=[self._interceptor],
            options=listening.options(settings),
            maximum_concurrent_rpcs=listening.most_calls(settings),
        )
        server.add_generic_rpc_handlers(servicer.handlers())
        health.register(self._health, server)
        reflection.enable_server_reflection(
            (health.SERVICE, health.REPOSITORY, health.HEALTH, reflection.SERVICE_NAME), server
        )
        metrics = GatheredMetrics(self._metrics.registry, supervisor.slots)
        host = listening.host(settings)
        try:
            web = http.HttpServer(
                http.application(metrics, self.unready), listening.http_listener(settings)
            )
            port = server.add_insecure_port(f"{host}:{settings.port}")
        except (OSError, RuntimeError) as error:
            await server.stop(grace=None)
            await supervisor.stop()
            raise listening.cannot_listen(error, settings) from error
        self._addresses = {"grpc": f"{host}:{port}", "http": f"{host}:{web.port}"}
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        rolls: set[asyncio.Task[None]] = set()

        def roll() -> None:
            task = loop.create_task(self._roll())
            rolls.add(task)
            task.add_done_callback(rolls.discard)

        loop.add_signal_handler(signal.SIGHUP, roll)
        await self._health.set_server(serving=False)
        supervisor.start()
        await server.start()
        web.start()
        looking = loop.create_task(self._look())
        reading = loop.create_task(metrics.keep_reading())
        hopeless = loop.create_task(supervisor.hopeless.wait())
        ended = loop.create_task(self._ended.wait())
        await asyncio.wait([ended, hopeless], return_when=asyncio.FIRST_COMPLETED)
        failed = not self._ended.is_set()
        if failed:
            logs.logger().error("cannot start", error="no worker can start; see its log lines")
        looking.cancel()
        await self._health.drain()
        logs.logger().info("draining", in_flight=self._interceptor.in_flight)
        await self._interceptor.drain(settings.drain_seconds)
        for task in (*rolls, reading, hopeless, ended):
            task.cancel()
        await server.stop(grace=0.5)
        await supervisor.stop()
        await web.stop()
        logs.logger().info("stopped", failed=failed)
        return failed

    def unready(self) -> str:
        """Returns the reason why the server is not ready; empty if it is."""
        if self._interceptor.draining:
            return "draining"
        processes = [slot.process for slot in self._supervisor.slots]
        if any(process is not None and process.ready for process in processes):
            return ""
        return "all workers are being replaced" if self._ready else "workers start"

    async def _roll(self) -> None:
        logs.logger().info("replacing workers")
        self._quarantine.clear()
        await self._supervisor.roll()

    def _count(self, slot: Slot, _: WorkerProcess, death: Death) -> None:
        self._metrics.worker_deaths.labels(slot.id, death.kind).inc()

    async def _look(self) -> None:
        """Follows the workers: health, metrics, and the line of the log when all serve."""
        listened = False
        known: dict[str, bool] = {}
        while True:
            slots = self._supervisor.slots
            listened = listened or self._log_listening(slots)
            await self._update_health(slots, known)
            self._update_metrics(slots)
            await asyncio.sleep(LOOK_SECONDS)

    def _log_listening(self, slots: list[Slot]) -> bool:
        """Logs that a worker answers calls, once; before, none could be answered."""
        if not any(slot.process is not None and slot.process.listening for slot in slots):
            return False
        logs.logger().info("listening", **self._addresses)
        return True

    async def _update_health(self, slots: list[Slot], known: dict[str, bool]) -> None:
        quarantined = self._supervisor.deaths.quarantined
        serving: set[str] = set()
        for slot in slots:
            if slot.process is not None and slot.process.ready:
                serving |= slot.process.serving
            if slot.process is not None:
                self._models |= slot.process.known
        for name in self._models:
            is_serving = name in serving and name not in quarantined
            if known.get(name) != is_serving:
                known[name] = is_serving
                await self._health.set_model(name, serving=is_serving)
        ready = any(slot.process is not None and slot.process.ready for slot in slots)
        if known.get("") != ready:
            known[""] = ready
            await self._health.set_server(serving=ready)
        settled = all(slot.process is not None and slot.process.ready for slot in slots)
        if settled and not self._ready:
            self._ready = True
            states = await merging.states(slots)
            logs.logger().info(
                "ready",
                **self._addresses,
                models=states,
                workers={slot.id: slot.device for slot in slots},
                seconds=round(monotonic() - self._begin, 3),
                pid=os.getpid(),
            )

    def _update_metrics(self, slots: list[Slot]) -> None:
        metrics, quarantined = self._metrics, self._supervisor.deaths.quarantined
        for slot in slots:
            process = slot.process
            up = process is not None and process.ready
            metrics.worker_up.labels(slot.id).set(int(up))
            memory = 0 if process is None else resident_bytes(process.pid)
            metrics.worker_memory.labels(slot.id).set(memory)
            waiting = 0 if process is None else process.outstanding
            metrics.worker_requests.labels(slot.id).set(waiting)
        for name in self._models:
            metrics.model_quarantined.labels(name).set(int(name in quarantined))
            metrics.quarantined.labels(name)  # At 0, so that the first one is an increase.
