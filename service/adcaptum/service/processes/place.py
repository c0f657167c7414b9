"""The place of a server: its worker and its device."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """The worker that a process is.

    Attributes:
        worker: The worker's id; `0` for a server of one process.
        device: Its device, as PyTorch names it.
    """

    worker: str
    device: str
