"""The composition root of a front: builds it, starts it with its workers, drains it."""

import asyncio
import os
import signal
from collections.abc import Sequence
from time import monotonic
from typing import Final

import uvloop
from prometheus_client import disable_created_metrics

from adcaptum.service import logs
from adcaptum.service.front import merging
from adcaptum.service.front.fleet.fleet import Fleet
from adcaptum.service.front.following.follower import TURN
from adcaptum.service.front.following.followers import Followers
from adcaptum.service.front.gate import Gate
from adcaptum.service.front.gathered_metrics import GatheredMetrics
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.lifecycle.watcher import watched
from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.processes.facts import resident_bytes
from adcaptum.service.protocols import http_side
from adcaptum.service.rpc import listening
from adcaptum.service.rpc.web import http
from adcaptum.service.security.access import Access
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.restarts import Restarts
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.supervisor import Supervisor
from adcaptum.service.supervisor.worker_process import WorkerProcess

LOOK_SECONDS: Final = 0.25
"""The time between two looks at the workers."""


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
    try:
        main = Front(settings, devices).serve()
        failed = uvloop.run(main) if settings.uvloop else asyncio.run(main)
    except CannotStart as error:
        logs.logger().error("cannot start", error=str(error))
        raise SystemExit(1) from error
    if failed:
        raise SystemExit(1)


class Front:
    """The first front. It imports no torch and no model's code: no crash of these reaches it."""

    def __init__(self, settings: Settings, devices: list[str]) -> None:
        self._settings = settings
        self._devices = devices
        self._metrics = FrontMetrics()
        self._access = Access(settings, self._metrics.registry)
        self._metrics.expect(map(str, range(len(devices))), settings.worker_memory_bytes)
        self._ready = False
        self._begin = monotonic()
        self._ended = asyncio.Event()
        self._restarts = Restarts(self._roll)

    async def serve(self) -> bool:
        """Serves until a signal comes; returns whether it failed."""
        settings, loop = self._settings, asyncio.get_running_loop()
        listening.check_free(settings)
        supervisor = self._supervisor = Supervisor(settings, self._devices, self._count)
        deaths = supervisor.deaths
        quarantine = self._quarantine = Quarantine(settings.quarantine_seconds, self._tell_refused)
        fleet = Fleet(settings, supervisor)
        followers = self._followers = Followers(
            settings, supervisor, quarantine, self._restarts, fleet.calls
        )
        gate = self._gate = Gate(
            settings,
            self._metrics,
            supervisor.slots,
            quarantined=deaths.quarantined,
            is_suspect=deaths.is_suspect,
            quarantine=quarantine,
            suspects=Suspects(supervisor.folder / TURN if settings.fronts > 1 else None),
            restart=self._restarts.restart,
            changes=fleet.calls,
            access=self._access,
        )
        metrics = GatheredMetrics(self._metrics.registry, supervisor.slots, followers.slots)
        try:
            app = http_side.application(
                settings, gate.calls, metrics, self.unready, self._access.metrics_guard
            )
            web = http.HttpServer(app, listening.http_listener(settings), self._access.certificates)
            port = gate.listen()
        except (OSError, RuntimeError) as error:
            await gate.stop()
            await supervisor.stop()
            raise listening.cannot_listen(error, settings) from error
        host = listening.host(settings)
        self._addresses = {"grpc": f"{host}:{port}", "http": f"{host}:{web.port}"}
        rolls: set[asyncio.Task[bool]] = set()

        def roll() -> None:
            task = loop.create_task(self._roll(()))
            rolls.add(task)
            task.add_done_callback(rolls.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        loop.add_signal_handler(signal.SIGHUP, roll)
        supervisor.start()
        await gate.start()
        await followers.start(port)
        web.start()
        looking = loop.create_task(self._look())
        watching = loop.create_task(watched(settings, fleet.lifecycle))
        reading = loop.create_task(metrics.keep_reading())
        hopeless = loop.create_task(supervisor.hopeless.wait())
        ended = loop.create_task(self._ended.wait())
        await asyncio.wait([ended, hopeless], return_when=asyncio.FIRST_COMPLETED)
        failed = not self._ended.is_set()
        if failed:
            logs.logger().error("cannot start", error="no worker can start; see its log lines")
        looking.cancel()
        await asyncio.gather(gate.drain(), followers.stop())
        for task in (*rolls, reading, hopeless, ended, watching):
            task.cancel()
        await gate.stop(0.5)
        await supervisor.stop()
        await web.stop()
        logs.logger().info("stopped", failed=failed)
        return failed

    def unready(self) -> str:
        """Returns the reason why the server is not ready; empty if it is."""
        if self._gate.interceptor.draining:
            return "draining"
        if self._gate.ready:
            return ""
        return "all workers are being replaced" if self._ready else "workers start"

    async def _roll(self, workers: Sequence[str]) -> bool:
        """Replaces workers; returns whether that worked."""
        logs.logger().info("replacing workers", workers=workers or "all")
        if not workers:
            self._quarantine.clear()
            self._followers.forget()
        return await self._supervisor.roll(workers)

    def _tell_refused(self, digest: bytes) -> None:
        self._followers.refuse(digest)

    def _count(self, slot: Slot, process: WorkerProcess, death: Death) -> None:
        self._metrics.worker_deaths.labels(slot.id, death.kind).inc()
        self._followers.died(process, death)

    async def _look(self) -> None:
        """Follows the workers: health, metrics, and the line of the log when all serve."""
        listened = False
        while True:
            slots = self._supervisor.slots
            listened = listened or self._log_listening(slots)
            await self._gate.update()
            if not self._ready:
                await self._log_ready(slots)
            self._update_metrics(slots)
            await asyncio.sleep(LOOK_SECONDS)

    def _log_listening(self, slots: list[Slot]) -> bool:
        """Logs that a worker answers calls, once; before, none could be answered."""
        if not any(slot.process is not None and slot.process.listening for slot in slots):
            return False
        logs.logger().info("listening", **self._addresses)
        return True

    async def _log_ready(self, slots: list[Slot]) -> None:
        """Logs that all processes serve, once they do."""
        serve = all(slot.process is not None and slot.process.ready for slot in slots)
        if not (serve and self._followers.ready):
            return
        self._ready = True
        logs.logger().info(
            "ready",
            **self._addresses,
            models=await merging.states(slots),
            workers={slot.id: slot.device for slot in slots},
            fronts=self._settings.fronts,
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
        for name in self._gate.models:
            metrics.model_quarantined.labels(name).set(int(name in quarantined))
            metrics.quarantined.labels(name)  # At 0, so that the first one is an increase.
