"""Calls that come for a request when it has just been answered."""

import asyncio
from typing import Any, cast

import pytest

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers.joint.member import Member, Seat, Share

SHARE = cast("Share", object())


def member() -> Member:
    # Nobody looks into what it asks here.
    return Member(cast("Any", None), 1)


async def test_a_call_that_comes_after_the_answer_has_it_too() -> None:
    one = member()
    first = Seat(one, None, joined=False)
    one.settle(SHARE)
    # The first call has not gone yet: its task runs after that of the second.
    assert one.joinable
    second = Seat(one, None, joined=True)
    async with asyncio.timeout(1):
        assert await first.settled is await second.settled is SHARE


async def test_nobody_joins_a_member_whose_calls_have_to_run_apart() -> None:
    one = member()
    assert one.joinable
    one.settle(None)
    assert not one.joinable


async def test_nobody_joins_a_member_that_has_failed() -> None:
    one = member()
    seat = Seat(one, None, joined=False)
    one.fail(InvalidRequest("inputs", "wrong"))
    assert not one.joinable
    with pytest.raises(InvalidRequest):
        await seat.settled
