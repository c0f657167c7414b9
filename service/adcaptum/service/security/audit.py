"""The audit log: administrative calls, who made them, and what became of them.

Lines of JSON are appended to a file, which may be renamed meanwhile; without one they are lines of
the server's log with the event `audit`.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from adcaptum.service import logs
from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.security.roles import Role, need_of

MOST_WHAT: Final = 2000
"""The most characters of a request in the log."""

DENIED_SECONDS: Final = 1.0
"""The least time between two lines about calls that were denied: nobody shall fill the disk."""

DENIED: Final = "PERMISSION_DENIED"
UNKNOWN: Final = "UNAUTHENTICATED"
READING: Final = ("List", "Get")
"""The beginnings of the names of calls that change nothing."""


class AuditLog:
    """The audit log of one process. For the event loop only."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = monotonic) -> None:
        """Opens it.

        Args:
            path: Its file; None: the server's log.
            clock: The time in seconds.

        Raises:
            CannotStart: The file cannot be written.
        """
        self._path = path
        self._clock = clock
        self._last_denied = -DENIED_SECONDS
        self._left_out = 0
        if path is not None:
            try:
                _append(path, b"")
            except OSError as error:
                raise CannotStart(f"audit_log {path}: {error.strerror or error}") from error

    def note(self, method: str, caller: str, request_id: str, request: Any, result: str) -> None:
        """Writes a line about a call, if it is administrative.

        Args:
            method: The service and the method.
            caller: Who made it.
            request_id: Its id in the server's log.
            request: Its message; None: it was not read.
            result: The name of its status code.
        """
        need = need_of(method)
        if need is None or need.role is not Role.ADMIN or result == UNKNOWN:
            return
        service, _, name = method.rpartition("/")
        if name.startswith(READING) or (result == DENIED and self._is_too_soon()):
            return
        facts = {
            "time": datetime.now(UTC).isoformat(),
            "caller": caller,
            "service": service,
            "call": name,
            "request": _shown(request),
            "result": result,
            "request_id": request_id,
        }
        if self._left_out:
            facts["denied_before"], self._left_out = self._left_out, 0
        if self._path is None:
            logs.logger().info("audit", **facts)
            return
        try:
            _append(self._path, json.dumps(facts).encode() + b"\n")
        except OSError as error:
            logs.logger().error("audit", **facts, problem=f"{self._path}: {error}")

    def _is_too_soon(self) -> bool:
        now = self._clock()
        if now < self._last_denied + DENIED_SECONDS:
            self._left_out += 1
            return True
        self._last_denied = now
        return False


def _append(path: Path, line: bytes) -> None:
    # One write: lines of several processes do not mix.
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(opened, line)
    finally:
        os.close(opened)


def _shown(request: Any) -> Any:
    if request is None:
        return None
    found = MessageToDict(request, preserving_proto_field_name=True)
    text = json.dumps(found)
    return found if len(text) <= MOST_WHAT else f"{text[:MOST_WHAT]}..."
