"""Views of workers: as much of them as a front knows that does not start them itself."""

import asyncio
from time import monotonic
from typing import Final

from adcaptum.service.processes.seat import Seat
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.worker_link import WorkerLink

PROMPT_SECONDS: Final = 1.0
"""A worker that answers within this time, and whose batches end within it, is prompt."""


class WorkerView:
    """A process of a worker, seen by a front.

    Attributes:
        seat: Its place.
        pid: The id of the process.
        link: The connections to it.
        ready: Whether it serves.
        listening: Whether it answers calls at all.
        stopping: Whether it was told to stop.
        models: The models that it is to have.
        serving: The models that it serves.
        known: The models that it has, those that load or have failed included.
        died: Set when it has ended.
        answered: When it last answered its supervisor, on the monotonic clock.
        is_late: Whether a batch takes much longer than it should.
        outstanding: The number of requests that it has of this front.
        outstanding_seconds: The seconds that these are expected to take.
        bodies: The bytes of these by their ids, and of those that were lost with it.
    """

    def __init__(self, seat: Seat, pid: int, most_bytes: int) -> None:
        """Prepares the view; no connection is made yet.

        Args:
            seat: Its place.
            pid: The id of the process.
            most_bytes: The largest message.
        """
        self.seat = seat
        self.pid = pid
        self.ready = self.listening = self.stopping = False
        self.answered = monotonic()
        self.is_late = False
        self.models = frozenset(seat.models)
        self.serving: frozenset[str] = frozenset()
        self.known: frozenset[str] = frozenset()
        self.outstanding = 0
        self.outstanding_seconds = 0.0
        self.bodies: dict[str, bytes] = {}
        self.died: asyncio.Future[Death] = asyncio.get_running_loop().create_future()
        self.link = WorkerLink(seat.socket, seat.frames_socket, most_bytes)

    @property
    def prompt(self) -> bool:
        """True if it has answered lately and no batch of it is late; else it may hang."""
        return not self.is_late and monotonic() - self.answered < PROMPT_SECONDS


class SlotView:
    """The place of a worker, seen by a front.

    Attributes:
        id: The id of the worker.
        device: Its device.
        process: Its process; None: it has ended and the next has not been started.
        restarts: The times that its process was replaced.
        reason: Why the last process ended; empty if none has ended.
        models: The models that it has, or that its next process will have.
    """

    def __init__(self, worker: str, device: str) -> None:
        self.id = worker
        self.device = device
        self.process: WorkerView | None = None
        self.restarts = 0
        self.reason = ""
        self.models: tuple[str, ...] = ()
