"""Logs: one JSON object a line on standard error, each with the id of its request.

Callers cause lines, so these are bounded: in length, and in number for each kind of line.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, TextIO, cast

import structlog

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The id of the request that this task serves; empty outside of one."""

Logger = structlog.typing.FilteringBoundLogger

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


MOST_CHARACTERS: Final = 4000
"""The longest text in a line, a traceback included."""

BURST: Final = 200
"""The most lines of one kind at once."""

PER_SECOND: Final = 20.0
"""The most lines of one kind a second, after a burst."""

MOST_KINDS: Final = 256
"""The most kinds that are counted apart; names of events are the program's, not callers'."""


class RateLimit:
    """A limit on log lines of each kind.

    Each kind has a bucket of `BURST` lines that fills at `PER_SECOND`.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float, int]] = {}

    def allow(self, kind: str, now: float) -> int | None:
        """Returns how many lines of the kind were left out before this one; None: leave it out."""
        if len(self._buckets) >= MOST_KINDS and kind not in self._buckets:
            kind = ""
        left, since, omitted = self._buckets.get(kind, (float(BURST), now, 0))
        left = min(float(BURST), left + (now - since) * PER_SECOND)
        if left < 1:
            self._buckets[kind] = (left, now, omitted + 1)
            return None
        self._buckets[kind] = (left - 1, now, 0)
        return omitted


class _ForeignLimit(logging.Filter):
    """Leaves out lines of libraries of which there are too many, and those that we write better.

    gRPC logs a traceback for metadata that is not UTF-8; such calls are answered and logged as
    every invalid request is.
    """

    def __init__(self, limit: RateLimit) -> None:
        super().__init__()
        self._limit = limit

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("grpc") and str(record.msg).startswith("Invalid encoding"):
            return False
        return self._limit.allow(record.name, monotonic()) is not None


class _StandardError:
    """Standard error as it is when a line is written: notebooks replace it.

    A line and its end are one write, since several processes write to one pipe.
    """

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(level: str, *, worker: str = "", front: str = "", libraries: bool = True) -> None:
    """Sends the lines of this program and of the libraries it uses to standard error.

    Args:
        level: The least severe line.
        worker: The id of the worker process that writes them; empty for others.
        front: The id of the further front that writes them; empty for others.
        libraries: Whether to change how libraries log, which a guest of a process does not.
    """

    def add_worker(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if worker:
            event["worker"] = worker
        if front:
            event["front"] = front
        return event

    shared: list[structlog.typing.Processor] = [
        add_worker,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _shorten,
    ]
    limit = RateLimit()

    def limited(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # At the level debug every request is logged.
        if method == "debug":
            return event
        omitted = limit.allow(str(event["event"]), monotonic())
        if omitted is None:
            raise structlog.DropEvent
        if omitted:
            event["omitted"] = omitted
        return event

    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[limited, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=False,
    )
    if not libraries:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_ForeignLimit(limit))
    logging.basicConfig(handlers=[handler], level=max(LEVELS[level], logging.WARNING), force=True)


def logger() -> Logger:
    """Returns the program's logger."""
    return cast("Logger", structlog.get_logger())


def _add_request_id(
    _: Any,
    __: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    request_id = REQUEST_ID.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def _shorten(
    _: Any,
    __: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2
            # A traceback says most at its ends.
            event[name] = f"{value[:half]} [...] {value[-half:]}"
    return event
