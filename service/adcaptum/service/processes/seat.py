"""Seats: what a supervisor tells a worker process about its place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a worker process under a supervisor.

    Attributes:
        worker: The id of the worker.
        socket: The Unix socket on which it speaks gRPC.
        http_socket: The Unix socket on which it speaks HTTP.
        frames_socket: The Unix socket on which it takes frames.
        journal: The file of its journal.
        supervisor: The id of the supervisor's process, without which it ends.
        quarantined: Models that it must not load.
        one_by_one: Whether it loads one model at a time, so that the journal shows which of them
            crashes it.
        core: The only core that it may use; None: any.
        models: The models that it has.
        elsewhere: The models that only other workers have.
        unplaced: The reason of each model that no worker has.
        versions: The versions of each model that are to be loaded; all of those not in it.
    """

    worker: str
    socket: Path
    http_socket: Path
    frames_socket: Path
    journal: Path
    supervisor: int
    quarantined: tuple[str, ...] = ()
    one_by_one: bool = False
    core: int | None = None
    models: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    unplaced: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """Its sockets and its journal."""
        return self.socket, self.http_socket, self.frames_socket, self.journal
