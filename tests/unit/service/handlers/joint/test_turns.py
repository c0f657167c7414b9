"""Turns: the works of all requests that were gathered, begun without holding up the event loop."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint import gatherer as module, gathering_rule
from adcaptum.service.handlers.joint.gatherer import Gatherer
from adcaptum.service.handlers.joint.gathering_rule import GatheringRule
from adcaptum.service.handlers.joint.joint_lanes import JointLane
from adcaptum.service.handlers.joint.member import Member
from adcaptum.service.handlers.waiter import Waiter
from adcaptum.v1 import explanation_service_pb2 as pb, tensor_pb2


class Loop:
    """The part of a lane that begins a turn."""

    is_idle = True

    def step(self) -> None:
        """Nothing was submitted."""


class Refuser:
    """A joiner that joins nothing, and records what it would have joined."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def join(self, members: Sequence[Member[IdentifiedRequest]], lane: JointLane) -> None:
        self.tried.append("".join(member.request.call.caller for member in members))


class Refusing(Gatherer[IdentifiedRequest]):
    """A gatherer whose joiner joins nothing."""

    def __init__(self) -> None:
        self.rule, joiner = GatheringRule(), Refuser()
        self.tried = joiner.tried
        super().__init__(cast("Any", Loop()), self.rule, joiner)


def asked(caller: str) -> IdentifiedRequest:
    message = pb.ExplainRequest(inputs=[tensor_pb2.Tensor(shape=[1])])
    call, nothing = Call("", 0.0, None, caller), cast("Any", None)
    return IdentifiedRequest(message, nothing, nothing, None, call, Priority.INTERACTIVE)


def enter(
    gatherer: Refusing, *requests: tuple[str, str]
) -> list[tuple[Member[IdentifiedRequest], Waiter]]:
    """Gathers requests, by question and caller, and begins their turn."""
    gatherer.rule._goal = gatherer.rule.aim = len(requests)
    return [gatherer.enter(asked(caller), alike, 1, None) for alike, caller in requests]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets turns begin by their number of requests alone, however slow the machine is."""
    monkeypatch.setattr(gathering_rule, "TURN_SECONDS", (60.0, 60.0))


async def test_works_that_all_differ_begin_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BEGIN_SECONDS", -1.0)
    gatherer = Refusing()
    waiting = enter(gatherer, ("one", "a"), ("two", "b"), ("three", "c"), ("four", "d"))
    assert gatherer.tried == ["a"]
    gatherer.leave(*waiting[2], "cancelled")
    await asyncio.sleep(0)
    assert gatherer.tried == ["a", "b"]
    async with asyncio.timeout(1):
        assert [await waiting[place][0].finished for place in (0, 1, 3)] == [None] * 3
    # Nothing is begun for a caller that has gone.
    assert gatherer.tried == ["a", "b", "d"]


async def test_where_one_is_wrong_the_callers_are_parted_first() -> None:
    gatherer = Refusing()
    enter(gatherer, *[("one", caller) for caller in "aabaacaa"])
    assert gatherer.tried[0] == "aabaacaa"
    assert gatherer.tried[-2:] == ["b", "c"]
    assert len(gatherer.tried) == 1 + 11 + 2
