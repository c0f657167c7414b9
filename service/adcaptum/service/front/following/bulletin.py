"""Bulletins: the state of the workers as the first front tells it to the others, in lines of JSON.

The first front supervises the workers. Each other front has a connection to it, on which it gets a
bulletin whenever something has changed: places, processes, models, recent ends, the models that are
out of service. Requests in quarantine are told one by one, in both directions.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from adcaptum.service.lifecycle.wanted import as_told
from adcaptum.service.processes.journal import Entry
from adcaptum.service.processes.seat import Seat
from adcaptum.service.supervisor import launch
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.views import SlotView, WorkerView

MOST_DEATHS: Final = 64
"""The ends of processes that a bulletin has, the latest ones."""

MOST_LINE: Final = 16 << 20
"""The longest line."""

Deaths = deque[tuple[str, Death]]
"""The sockets of processes that have ended, and their ends."""


def line(message: Mapping[str, Any]) -> bytes:
    """Returns a message as a line."""
    return json.dumps(message).encode() + b"\n"


def bulletin(
    slots: Iterable[SlotView],
    deaths: Deaths,
    quarantined: Mapping[str, str],
    is_suspect: Callable[[str], bool],
) -> dict[str, Any]:
    """Returns the state of the workers.

    Args:
        slots: Their places.
        deaths: Their recent ends.
        quarantined: The reason of each model that is out of service.
        is_suspect: Returns whether a model has ended a worker lately.
    """
    told = [_slot(slot) for slot in slots]
    models = sorted({name for each in told if each["process"] for name in each["process"]["known"]})
    return {
        "slots": told,
        "deaths": [[socket, asdict(death)] for socket, death in deaths],
        "quarantined": dict(quarantined),
        "suspects": [name for name in models if is_suspect(name)],
    }


def _slot(slot: SlotView) -> dict[str, Any]:
    process = slot.process
    return {
        "id": slot.id,
        "device": slot.device,
        "restarts": slot.restarts,
        "reason": slot.reason,
        "models": slot.models,
        "process": None if process is None else _process(process),
    }


def _process(process: WorkerView) -> dict[str, Any]:
    return {
        "seat": launch.seat_as_told(process.seat),
        "pid": process.pid,
        "ready": process.ready,
        "listening": process.listening,
        "stopping": process.stopping,
        "prompt": process.prompt,
        "models": sorted(process.models),
        "serving": sorted(process.serving),
        "known": sorted(process.known),
    }


def seat(told: Mapping[str, Any]) -> Seat:
    """Returns the place of a worker process from what was told of it."""
    values = {**told, **{name: tuple(told[name]) for name in launch.NAMES}}
    values["versions"] = as_told(told["versions"])
    return Seat(**{**values, **{name: Path(told[name]) for name in launch.PATHS}})


def death(told: Mapping[str, Any]) -> Death:
    """Returns the end of a process from what was told of it."""
    running: Sequence[Mapping[str, Any]] = told["running"]
    entries = tuple(Entry(**{**each, "requests": tuple(each["requests"])}) for each in running)
    return Death(**{**told, "running": entries})
