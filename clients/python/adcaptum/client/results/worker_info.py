"""The description of a worker."""

import enum
from dataclasses import dataclass


class WorkerState(enum.StrEnum):
    """The state of a worker.

    `UNKNOWN` stands for states that this client does not know.
    """

    UNKNOWN = "unknown"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker: one process on one device.

    Attributes:
        id: Its id, as in `Placement.worker`.
        device: Its device, as PyTorch names it.
        pid: The id of its process; 0 while there is none.
        state: Its state.
        restarts: The times that its process was replaced.
        memory_bytes: The resident memory of its process; 0 if unknown.
        models: The names of the models that it serves.
        reason: The end of its last process, in words; empty if none has ended.
    """

    id: str
    device: str
    pid: int
    state: WorkerState
    restarts: int
    memory_bytes: int
    models: tuple[str, ...]
    reason: str
