"""The start of a worker process: its settings, its command line, its environment."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from adcaptum.service.processes.seat import Seat
from adcaptum.service.settings import Settings

STUCK_TIMES: Final = 100.0
"""The times of `stuck_seconds` after which a worker itself takes a model for stuck: later than its
supervisor."""

PATHS: Final = ("socket", "http_socket", "frames_socket", "journal")
NAMES: Final = ("quarantined", "models", "elsewhere")
"""The fields of a seat with names of models."""


def worker_settings(settings: Settings, device: str, workers: int) -> Settings:
    """Returns the settings of a worker process.

    Args:
        settings: The settings of the server.
        device: The worker's device.
        workers: The number of workers, among which the response cache is divided.
    """
    changed: dict[str, object] = {
        "device": device,
        "workers": None,
        "fronts": 1,
        # The front watches.
        "watch": False,
        "cache_bytes": settings.cache_bytes // workers,
        # The supervisor ends a worker that is stuck, and blames whoever ran.
        "stuck_seconds": STUCK_TIMES * settings.stuck_seconds,
        # Models that load late are the front's to wait for.
        "host": "127.0.0.1",
        # Fronts ask who calls; nobody else reaches the sockets of workers.
        "credentials": None,
        "api_keys": None,
        "tls_certificate": None,
        "tls_key": None,
        "tls_client_ca": None,
        "audit_log": None,
    }
    if device == "cpu" and workers > 1:
        # Workers share the cores: each computes in one thread. One that is alone divides them.
        changed["device_threads"] = settings.device_threads or 1
        changed["intra_op_threads"] = settings.intra_op_threads or 1
    return settings.model_copy(update=changed)


def own_cores(settings: Settings, devices: Sequence[str]) -> list[int]:
    """Returns the core of each worker, where each has one of its own; else none.

    Args:
        settings: The settings of the server.
        devices: The device of each worker.
    """
    if sys.platform != "linux" or set(devices) != {"cpu"}:
        return []
    cores = sorted(os.sched_getaffinity(0))
    several = {settings.device_threads or 1, settings.intra_op_threads or 1} != {1}
    return cores if len(cores) == len(devices) and not several else []


def command(settings: Settings, seat: Seat) -> list[str]:
    """Returns the command line of a worker process.

    Args:
        settings: Its settings.
        seat: Its place.
    """
    told = {
        "settings": settings.model_dump(mode="json"),
        "seat": seat_as_told(seat),
    }
    return [sys.executable, "-m", "adcaptum.service.worker", json.dumps(told)]


def seat_as_told(seat: Seat) -> dict[str, object]:
    """Returns the place of a worker process as JSON can have it."""
    return {**asdict(seat), **{name: str(getattr(seat, name)) for name in PATHS}}


def front_environment(settings: Settings) -> dict[str, str]:
    """Returns the environment of a further front: it has what its command line must not show."""
    if settings.api_keys is None:
        return environment()
    return {**environment(), "ADCAPTUM_API_KEYS": settings.api_keys.get_secret_value()}


def environment() -> dict[str, str]:
    """Returns the environment of worker processes, whose settings come by the command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ADCAPTUM_")}
    kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return kept
