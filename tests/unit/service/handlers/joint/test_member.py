"""Calls that come for a request when it has just been answered."""

import asyncio
from typing import Any, cast

import pytest

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers.joint.member import Member, Share

SHARE = cast("Share", object())


class Asked:
    """Nobody looks further into what it asks here."""

    priority = Priority.INTERACTIVE


def member() -> Member[Any]:
    return Member(cast("Any", Asked), "alike", 1)


async def test_a_call_that_comes_after_the_answer_has_it_too() -> None:
    one = member()
    first = one.join(None, joined=False)
    one.settle(SHARE)
    # The first call has not gone yet: its task runs after that of the second.
    assert one.joinable
    second = one.join(None, joined=True)
    async with asyncio.timeout(1):
        await first.end()
        await second.end()
    assert one.finished.result() is SHARE


async def test_nobody_joins_a_member_whose_calls_have_to_run_apart() -> None:
    one = member()
    assert one.joinable
    one.settle(None)
    assert not one.joinable


async def test_nobody_joins_a_member_that_has_failed() -> None:
    one = member()
    waiter = one.join(None, joined=False)
    one.fail(InvalidRequest("inputs", "wrong"))
    assert not one.joinable
    await waiter.end()
    with pytest.raises(InvalidRequest):
        one.finished.result()
