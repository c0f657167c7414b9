"""The composition root of a further front: builds it, follows the first front, drains it."""

import asyncio
import json
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import uvloop
from prometheus_client import disable_created_metrics

from adcaptum.service import logs
from adcaptum.service.front.following.bulletin import MOST_LINE, line
from adcaptum.service.front.following.mirror import Mirror
from adcaptum.service.front.following.remote_changes import RemoteChanges
from adcaptum.service.front.following.remote_restarts import RemoteRestarts
from adcaptum.service.front.gate import Gate
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.rpc import listening
from adcaptum.service.rpc.web import http
from adcaptum.service.rpc.web.exposition import Exposition
from adcaptum.service.security.access import Access
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor.views import SlotView

CONTROL: Final = "fronts"
"""The socket of the first front on which it tells of the workers."""

TURN: Final = "suspects"
"""The file that a front locks while it sends a request with a strike."""


BEAT_SECONDS: Final = 0.5
"""The time between two signs of life."""


def run(settings: Settings, front: str, folder: Path, http_socket: Path) -> None:
    """Runs a further front until SIGTERM or SIGINT, or until the first front has ended.

    Args:
        settings: The settings of the server, with the port that all fronts share.
        front: The id of this front.
        folder: The folder of the sockets of the server's processes.
        http_socket: The Unix socket for its metrics.

    Raises:
        SystemExit: It failed; the log says why.
    """
    logs.configure(settings.log_level, front=front)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        main = Follower(settings, front, folder, http_socket).serve()
        uvloop.run(main) if settings.uvloop else asyncio.run(main)
    except CannotStart as error:
        logs.logger().error("front cannot start", error=str(error))
        raise SystemExit(1) from error


class Follower:
    """A front process that follows the first one."""

    def __init__(self, settings: Settings, front: str, folder: Path, http_socket: Path) -> None:
        self._settings = settings
        self._front = front
        self._folder = folder
        self._http_socket = http_socket
        self._metrics = FrontMetrics()
        self._access = Access(settings, self._metrics.registry)
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Serves until a signal comes or the first front has ended."""
        settings, loop = self._settings, asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        reader, writer = await asyncio.open_unix_connection(
            str(self._folder / CONTROL), limit=MOST_LINE
        )
        remote = self._remote = RemoteRestarts(writer)
        changes = self._changes = RemoteChanges(writer)
        mirror = Mirror(settings.max_message_bytes)
        quarantine = Quarantine(
            settings.quarantine_seconds,
            lambda digest: writer.write(line({"refuse": [digest.hex(), None]})),
        )
        await self._take(await reader.readline(), mirror, quarantine)
        for slot in mirror.slots:
            gauge = self._metrics.worker_requests.labels(slot.id)
            gauge.set_function(partial(_outstanding, slot))
        gate = Gate(
            settings,
            self._metrics,
            mirror.slots,
            quarantined=mirror.quarantined,
            is_suspect=mirror.is_suspect,
            quarantine=quarantine,
            suspects=Suspects(self._folder / TURN),
            restart=remote.restart,
            changes=changes,
            front=self._front,
            access=self._access,
        )
        web_socket = socket.socket(socket.AF_UNIX)
        web_socket.bind(str(self._http_socket))
        exposition = Exposition(self._metrics.registry)
        web = http.HttpServer(http.application(exposition, lambda: ""), web_socket)
        try:
            gate.listen()
        except RuntimeError as error:
            raise listening.cannot_listen(error, settings) from error
        await gate.start()
        web.start()
        await gate.update()
        tasks = [
            loop.create_task(self._follow(reader, mirror, quarantine, gate)),
            loop.create_task(self._beat(writer)),
        ]
        await self._ended.wait()
        for task in tasks:
            task.cancel()
        await gate.drain()
        await gate.stop(0.5)
        await web.stop()
        writer.close()

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        """Shows the first front that this one lives."""
        while True:
            writer.write(line({"listening": self._front}))
            await asyncio.sleep(BEAT_SECONDS)

    async def _follow(
        self, reader: asyncio.StreamReader, mirror: Mirror, quarantine: Quarantine, gate: Gate
    ) -> None:
        """Takes over what the first front tells, until it has ended."""
        with suppress(OSError):
            while told := await reader.readline():
                await self._take(told, mirror, quarantine)
                await gate.update()
        self._ended.set()

    async def _take(self, told: bytes, mirror: Mirror, quarantine: Quarantine) -> None:
        message = json.loads(told) if told else {}
        if "slots" in message:
            await mirror.update(message)
        elif "refuse" in message:
            digest, seconds = message["refuse"]
            quarantine.put(bytes.fromhex(digest), seconds)
        elif "restarted" in message:
            self._remote.ended(message)
        elif "changed" in message:
            self._changes.ended(message)
        elif "forget" in message:
            quarantine.clear()


def _outstanding(slot: SlotView) -> float:
    return 0 if slot.process is None else slot.process.outstanding
