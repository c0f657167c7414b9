"""Deaths: the ends of worker processes, why they ended, and who ran at the time."""

import signal
from dataclasses import dataclass
from typing import Final

from adcaptum.service.processes.exits import DEVICE_LOST
from adcaptum.service.processes.journal import Entry

KINDS: Final = ("exit", "signal", "killed", "memory", "hang", "unresponsive", "device")
"""The kinds of ends that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a worker process.

    Attributes:
        cause: Why it ended, for people.
        kind: Why it ended, for the metrics: `stopped` or one of `KINDS`.
        running: What ran when it ended.
        status: Its exit status; the negative number of the signal that ended it.
    """

    cause: str
    kind: str
    running: tuple[Entry, ...]
    status: int

    @property
    def is_attributable(self) -> bool:
        """True if it counts against whoever ran.

        Against nobody counts an end on purpose, and SIGKILL from outside.
        """
        return self.kind not in {"stopped", "killed"}

    @property
    def requests(self) -> frozenset[str]:
        """The ids of the requests whose rows ran."""
        if not self.is_attributable:
            return frozenset()
        return frozenset(each for entry in self.running for each in entry.requests)

    @property
    def models(self) -> frozenset[str]:
        """The models whose code ran."""
        if not self.is_attributable:
            return frozenset()
        return frozenset(entry.model for entry in self.running)


def death(status: int, ended_for: str, out_of_memory: bool, running: list[Entry]) -> Death:
    """Returns the record of a process that has ended.

    Args:
        status: Its exit status, negative for a signal.
        ended_for: Why the supervisor ended it, a kind of `Death`; empty if it did not.
        out_of_memory: Whether the kernel has killed processes for want of memory meanwhile.
        running: What ran.
    """
    kept = tuple(running)
    if ended_for:
        return Death(CAUSES[ended_for], ended_for, kept, status)
    if status == -signal.SIGKILL:
        kind = "memory" if out_of_memory else "killed"
        return Death(CAUSES[kind], kind, kept, status)
    if status < 0:
        return Death(f"{signal.Signals(-status).name}", "signal", kept, status)
    if status == DEVICE_LOST:
        return Death(CAUSES["device"], "device", kept, status)
    return Death(f"exit status {status}", "exit", kept, status)


def outgrown(status: int = 0) -> Death:
    """Returns the record of a process that was replaced because its memory had grown."""
    return Death(CAUSES["memory"], "memory", (), status)


CAUSES = {
    "stopped": "it was stopped",
    "killed": "SIGKILL from outside",
    "memory": "it took too much memory",
    "hang": "a batch did not end",
    "unresponsive": "it did not answer",
    "device": "its device was lost",
}
