"""Worker processes: one process of the operating system that serves on a Unix socket."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adcaptum.service import logs
from adcaptum.service.processes import journal
from adcaptum.service.processes.facts import kills_for_memory, resident_bytes
from adcaptum.service.processes.journal import BATCH, Entry
from adcaptum.service.processes.seat import Seat
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor import launch
from adcaptum.service.supervisor.death import death
from adcaptum.service.supervisor.views import PROMPT_SECONDS, WorkerView

POLL_SECONDS: Final = 0.25
"""The time between two looks at a worker."""

TIMES_LATE: Final = 4.0
"""A batch that takes so many times its expected seconds, and `PROMPT_SECONDS`, is late."""

TIMES_EXPECTED: Final = 50.0
"""A batch that takes so many times its expected seconds, and `stuck_seconds`, does not end."""

RUNAWAY: Final = 1.25
"""A worker with so many times `worker_memory_bytes` is ended at once."""

STOP_SECONDS: Final = 6.0
"""The time that a worker has to end beyond `drain_seconds`."""

SERVICES: Final = "adcaptum.v1."
"""The beginning of the names of services, beside which health has the models'."""


class WorkerProcess(WorkerView):
    """A process of a worker, from its start to its end.

    Attributes:
        served_from: When it first served, on the monotonic clock; None: it never has.
        born: When it was started, on the monotonic clock.
        outgrown: Set when it has more memory than it may.
    """

    def __init__(self, process: asyncio.subprocess.Process, seat: Seat, settings: Settings) -> None:
        super().__init__(seat, process.pid, settings.max_message_bytes)
        self.served_from: float | None = None
        self.outgrown = asyncio.Event()
        self.born = monotonic()
        self._process = process
        self._settings = settings
        self._ended_for = ""
        self._hung: list[Entry] = []
        self._kills = kills_for_memory()
        self._health = health_pb2_grpc.HealthStub(self.link.channel)
        self._reaping = asyncio.create_task(self._reap())
        # Apart: a process that does not answer is asked for long, and its memory grows meanwhile.
        self._watching = [
            asyncio.create_task(self._watch(look)) for look in (self._listen, self._check)
        ]

    @classmethod
    async def start(cls, seat: Seat, settings: Settings) -> "WorkerProcess":
        """Starts a process.

        Args:
            seat: Its place.
            settings: Its settings, those of a worker.
        """
        process = await asyncio.create_subprocess_exec(
            *launch.command(settings, seat), env=launch.environment(), start_new_session=True
        )
        return cls(process, seat, settings)

    def stop(self) -> None:
        """Has the process finish its requests and end."""
        self.stopping, self.ready = True, False
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self, reason: str) -> None:
        """Ends the process at once.

        Args:
            reason: A kind of `Death`.
        """
        self._ended_for = self._ended_for or reason
        # It may take seconds to end, and nobody may count on it meanwhile.
        self.ready = False
        with suppress(ProcessLookupError):
            self._process.kill()

    async def stopped(self) -> None:
        """Waits until the process has ended, and ends it where it takes too long."""
        seconds = self._settings.drain_seconds + STOP_SECONDS
        done, _ = await asyncio.wait([self.died], timeout=seconds)
        if not done:
            self.kill("stopped")
            await self.died

    async def _reap(self) -> None:
        status = await self._process.wait()
        self.ready = self.listening = False
        self.serving = frozenset()
        ended_for = "stopped" if self.stopping else self._ended_for
        memory = kills_for_memory() > self._kills
        # Whatever else ran meanwhile has nothing to do with a batch that did not end.
        running = self._hung or journal.read(self.seat.journal)
        for path in self.seat.files:
            path.unlink(missing_ok=True)
        for task in self._watching:
            task.cancel()
        self.died.set_result(death(status, ended_for, memory, running))
        # Its calls end by themselves; closing would cancel them, without their status.
        while self.outstanding:  # noqa: ASYNC110  # in no hurry
            await asyncio.sleep(POLL_SECONDS)
        await self.link.close()

    async def _watch(self, look: Callable[[], Awaitable[None]]) -> None:
        """Looks at the process again and again."""
        while True:
            try:
                await look()
            except Exception:  # noqa: BLE001  # the worker must not stay unwatched
                logs.logger().exception("a look at a worker failed", worker=self.seat.worker)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        """Asks the process whether it serves, and ends it if it has not answered for long."""
        await self._ask()
        patience = self._settings.unresponsive_seconds
        if not self.ready and not self.stopping:
            patience = max(patience, self._settings.load_timeout_seconds)
        if monotonic() - self.answered > patience:
            self.kill("unresponsive")

    async def _ask(self) -> None:
        if not self.seat.socket.exists():
            return
        try:
            reply = await self._health.List(
                health_pb2.HealthListRequest(), timeout=self._settings.unresponsive_seconds
            )
        except grpc.aio.AioRpcError:
            return
        self.answered = monotonic()
        await self.link.connect()
        self.listening = True
        serving = health_pb2.HealthCheckResponse.SERVING
        names = {name for name, each in reply.statuses.items() if each.status == serving}
        models = [name for name in reply.statuses if name and not name.startswith(SERVICES)]
        self.known = frozenset(models)
        self.serving = self.known & names
        self.ready = "" in names and not (self.stopping or self._ended_for)
        if self.ready and self.served_from is None:
            self.served_from = self.answered

    async def _check(self) -> None:
        """Ends the process if it has far too much memory, or a batch of it does not end."""
        settings, now = self._settings, monotonic()
        most = settings.worker_memory_bytes
        held = 0 if most is None else resident_bytes(self.pid)
        if most is not None and held > most:
            self.outgrown.set()
            if held > RUNAWAY * most:
                self.kill("memory")
        # The settings of a worker have a longer time, see `launch.worker_settings`.
        stuck = settings.stuck_seconds / launch.STUCK_TIMES
        batches = [each for each in journal.read(self.seat.journal) if each.kind == BATCH]
        self.is_late = any(_is_over(each, now, PROMPT_SECONDS, TIMES_LATE) for each in batches)
        hung = [each for each in batches if _is_over(each, now, stuck, TIMES_EXPECTED)]
        if hung and not self._ended_for:
            self._hung = hung
            self.kill("hang")


def _is_over(entry: Entry, now: float, seconds: float, times: float) -> bool:
    """Returns whether something has run for some seconds and for some times what it should take."""
    return now - entry.begin > max(seconds, times * entry.expected_seconds)
