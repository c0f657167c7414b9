import asyncio
import json
from typing import Any, cast

import pytest

from adcaptum.service.errors import Reason, TooBusy, Unavailable
from adcaptum.service.front.following.remote_restarts import RemoteRestarts


class Writer:
    """The connection to the first front."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        self.lines.append(json.loads(line))


async def asked(workers: list[str], error: str, reason: str) -> list[dict[str, Any]]:
    writer = Writer()
    remote = RemoteRestarts(cast("asyncio.StreamWriter", writer))
    call = asyncio.create_task(remote.restart(workers))
    await asyncio.sleep(0)
    # The end of one that nobody waits for any more is nothing.
    remote.ended({"restarted": 7, "error": "", "reason": ""})
    remote.ended({"restarted": 1, "error": error, "reason": reason})
    await call
    return writer.lines


async def test_the_first_front_is_asked_and_its_answer_awaited() -> None:
    assert await asked(["1"], "", "") == [{"restart": ["1"], "number": 1}]


async def test_errors_of_the_first_front_are_passed_on() -> None:
    with pytest.raises(TooBusy, match="busy"):
        await asked([], "busy", Reason.QUEUE_FULL)
    with pytest.raises(Unavailable, match="not served"):
        await asked([], "not served", Reason.WORKER_LOST)
