"""The further fronts as the first one has them: started, told of the workers, replaced, stopped."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from adcaptum.service import logs
from adcaptum.service.errors import ServiceError
from adcaptum.service.front.following.bulletin import (
    MOST_DEATHS,
    MOST_LINE,
    Deaths,
    bulletin,
    line,
)
from adcaptum.service.front.following.follower import CONTROL
from adcaptum.service.front.following.remote_changes import made
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.rpc.repository.change_handlers import Changes
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor import launch
from adcaptum.service.supervisor.back_off import BackOff
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.restarts import Restarts
from adcaptum.service.supervisor.supervisor import Supervisor
from adcaptum.service.supervisor.views import WorkerView

TELL_SECONDS: Final = 0.05
"""The time between two looks at whether there is news of the workers."""

STOP_SECONDS: Final = 3.0
"""The time that a front has to end beyond `drain_seconds`."""


@dataclass(frozen=True, slots=True)
class FrontSeat:
    """The place of a front process.

    Attributes:
        http_socket: The Unix socket on which it speaks HTTP.
    """

    http_socket: Path


class FrontProcess:
    """A process of a further front.

    Attributes:
        seat: Its place.
        listening: Whether it takes calls.
        served_from: When it first took calls, on the monotonic clock; None: it never has.
        died: Set when it has ended.
        heard: When it was started or last heard of, on the monotonic clock.
    """

    def __init__(self, process: asyncio.subprocess.Process, seat: FrontSeat) -> None:
        self.seat = seat
        self.listening = False
        self.served_from: float | None = None
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.process = process
        self.heard = monotonic()

    def kill(self) -> None:
        """Ends the process at once."""
        with suppress(ProcessLookupError):
            self.process.kill()


class FrontSlot:
    """The place of a further front.

    Attributes:
        id: Its id; the first front has 0.
        process: Its process, if it has one.
    """

    def __init__(self, front: str) -> None:
        self.id = front
        self.process: FrontProcess | None = None


class Followers:
    """All further fronts.

    Attributes:
        slots: Their places.
    """

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        quarantine: Quarantine,
        restarts: Restarts,
        changes: Changes,
    ) -> None:
        """Prepares them; `start` starts them.

        Args:
            settings: The settings of the server.
            supervisor: The workers.
            quarantine: The requests that are refused.
            restarts: The restarts of workers that callers ask for.
            changes: The changes of models that callers ask for.
        """
        self._restarts = restarts
        self._changes = changes
        self._asked: set[asyncio.Task[None]] = set()
        self.slots = [FrontSlot(str(index)) for index in range(1, settings.fronts)]
        self._settings = settings
        self._supervisor = supervisor
        self._quarantine = quarantine
        self._deaths: Deaths = deque(maxlen=MOST_DEATHS)
        self._connections: set[asyncio.StreamWriter] = set()
        self._told = b""
        self._started = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    @property
    def ready(self) -> bool:
        """True if all take calls."""
        return all(slot.process is not None and slot.process.listening for slot in self.slots)

    async def start(self, port: int) -> None:
        """Starts them.

        Args:
            port: The port that all fronts share.
        """
        if not self.slots:
            return
        self._settings = self._settings.model_copy(update={"port": port})
        self._server = await asyncio.start_unix_server(
            self._serve, str(self._supervisor.folder / CONTROL), limit=MOST_LINE
        )
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        self._tasks.append(asyncio.create_task(self._keep_telling()))

    def died(self, process: WorkerView, death: Death) -> None:
        """Notes the end of a worker process."""
        self._deaths.append((str(process.seat.socket), death))
        self._tell_news()

    def refuse(self, digest: bytes) -> None:
        """Announce a request that is refused from now on."""
        self._tell({"refuse": [digest.hex(), None]})

    def forget(self) -> None:
        """Announce that no request is in quarantine any more."""
        self._tell({"forget": True})

    async def stop(self) -> None:
        """Has all finish their calls and end."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        living = [slot.process for slot in self.slots if slot.process is not None]
        for each in living:
            with suppress(ProcessLookupError):
                each.process.send_signal(signal.SIGTERM)
        for each in living:
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    each.process.wait(), self._settings.drain_seconds + STOP_SECONDS
                )
            if each.process.returncode is None:
                each.kill()
                await each.process.wait()
        if self._server is not None:
            self._server.close()
        for writer in self._connections:
            writer.close()

    async def _keep(self, slot: FrontSlot) -> None:
        """Keeps a process in a place."""
        back_off = BackOff()
        while not self._stopping:
            begin = monotonic()
            front = slot.process = await self._start(slot.id)
            status = await front.process.wait()
            front.listening, slot.process = False, None
            front.died.set_result(None)
            back_off.count(begin, front.served_from, monotonic())
            logs.logger().error(
                "a front ended", front=slot.id, pid=front.process.pid, status=status
            )
            await asyncio.sleep(back_off.pause)

    async def _start(self, front: str) -> FrontProcess:
        self._started += 1
        folder = self._supervisor.folder
        seat = FrontSeat(folder / f"front.{front}.{self._started}.http")
        told = {
            # Others see command lines, but not environments.
            "settings": self._settings.model_dump(mode="json", exclude={"api_keys"}),
            "front": front,
            "folder": str(folder),
            "http_socket": str(seat.http_socket),
            "first": os.getpid(),
        }
        command = [sys.executable, "-m", "adcaptum.service.front.following", json.dumps(told)]
        process = await asyncio.create_subprocess_exec(
            *command, env=launch.front_environment(self._settings), start_new_session=True
        )
        logs.logger().info("front started", front=front, pid=process.pid)
        return FrontProcess(process, seat)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves the connection of a further front."""
        self._connections.add(writer)
        writer.write(line(self._news()))
        for digest, seconds in self._quarantine.digests():
            writer.write(line({"refuse": [digest.hex(), seconds]}))
        try:
            while told := await reader.readline():
                self._take(json.loads(told), writer)
        except OSError:
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    def _take(self, told: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if "refuse" in told:
            self._quarantine.put(bytes.fromhex(told["refuse"][0]))
            self._tell(told, but=writer)
            return
        if "change" in told:
            self._do(self._change(told, writer))
            return
        if "restart" in told:
            self._do(self._restart(told, writer))
            return
        for slot in self.slots:
            if slot.process is not None and slot.id == told["listening"]:
                if not slot.process.listening:
                    pid = slot.process.process.pid
                    logs.logger().info("front listening", front=slot.id, pid=pid)
                    slot.process.served_from = monotonic()
                slot.process.listening, slot.process.heard = True, monotonic()

    async def _change(self, told: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """Makes a change for a caller of a further front, and tells it of the end."""
        answer = await made(told, self._changes)
        # What has changed comes before the answer.
        self._tell_news()
        writer.write(line(answer))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _restart(self, told: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """Replaces workers for a caller of a further front, and tells it of the end."""
        error, reason = "", ""
        try:
            await self._restarts.restart(told["restart"])
        except ServiceError as raised:
            error, reason = raised.message, raised.reason
        writer.write(line({"restarted": told["number"], "error": error, "reason": reason}))

    def _news(self) -> dict[str, Any]:
        deaths = self._supervisor.deaths
        return bulletin(self._supervisor.slots, self._deaths, deaths.quarantined, deaths.is_suspect)

    async def _keep_telling(self) -> None:
        while True:
            self._tell_news()
            for slot in self.slots:
                if slot.process is not None and self._hangs(slot.process):
                    logs.logger().error("a front does not answer", front=slot.id)
                    slot.process.kill()
            await asyncio.sleep(TELL_SECONDS)

    def _hangs(self, front: FrontProcess) -> bool:
        """Returns whether nothing was heard of a front for too long."""
        patience = self._settings.unresponsive_seconds
        if not front.listening:
            patience = max(patience, self._settings.load_timeout_seconds)
        return monotonic() - front.heard > patience

    def _tell_news(self) -> None:
        if not self._connections:
            return
        told = line(self._news())
        if told != self._told:
            self._told = told
            for writer in self._connections:
                writer.write(told)

    def _tell(self, message: dict[str, Any], but: asyncio.StreamWriter | None = None) -> None:
        told = line(message)
        for writer in self._connections:
            if writer is not but:
                writer.write(told)
