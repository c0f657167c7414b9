"""Faults under load: what is done to a server, and what became of the calls meanwhile."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic
from types import MappingProxyType
from typing import Final

import grpc

from adcaptum.v1 import repository_service_pb2
from tests.faults import raw_clients
from tests.faults.load import Load, one_call, reason_of, row
from tests.faults.outcome import Outcome
from tests.faults.raw_clients import connected, is_closed
from tests.faults.repository import DEEDS
from tests.faults.running import running, workers_of
from tests.integration.conftest import Server

READY = repository_service_pb2.WORKER_STATE_READY

CROWD: Final = 2000
"""The calls at once, beside the load."""

CONNECTIONS: Final = 8
"""The connections of the crowd."""

HELD: Final = 50
"""The connections of each kind of client that does not speak properly."""

UNREAD: Final = 20
"""The calls of each client that reads no answer."""

Deed = Callable[[Server, Load, Outcome], Awaitable[None]]


async def recovered(server: Server, pid: int | None = None) -> float:
    """Waits until all workers serve; returns the seconds.

    Args:
        server: The server.
        pid: A process that has to be gone first.
    """
    begin = monotonic()
    while True:
        workers = await asyncio.to_thread(workers_of, server)
        if all(each.state == READY and each.pid != pid for each in workers):
            return monotonic() - begin
        assert monotonic() < begin + 180, workers
        await asyncio.sleep(0.05)


async def under_load(
    fault: str,
    server: Server,
    deed: Deed,
    tick: Callable[[], None] = lambda: None,
    seconds: float = inf,
) -> Outcome:
    """Does something to a server while it serves `good`."""
    outcome = Outcome(fault, tick=tick, end=monotonic() + seconds)
    load = Load(server.address)
    await load.learn()
    running_load = asyncio.create_task(load.run())
    await asyncio.sleep(1)
    try:
        await deed(server, load, outcome)
        await asyncio.sleep(1)
    finally:
        load.stop()
        outcome.tally = await running_load
        await load.channel.close()
    return outcome


def quiet(seconds: int) -> Deed:
    """Does nothing."""

    async def deed(_: Server, __: Load, outcome: Outcome) -> None:
        for _second in range(seconds):
            await asyncio.sleep(1)
            outcome.tick()

    return deed


def kills(times: int) -> Deed:
    """Kills a worker again and again, each time when all serve."""

    async def deed(server: Server, _: Load, outcome: Outcome) -> None:
        for index in range(times):
            if outcome.is_late:
                break
            workers = await asyncio.to_thread(workers_of, server)
            pid = workers[index % len(workers)].pid
            os.kill(pid, signal.SIGKILL)
            outcome.recovery.append(await recovered(server, pid))
            outcome.tick()
        outcome.fault += f" ({len(outcome.recovery)} times)"

    return deed


async def stop_one(server: Server, _: Load, outcome: Outcome) -> None:
    """Stops a worker's process, which then answers nothing, until it is replaced."""
    pid = (await asyncio.to_thread(workers_of, server))[0].pid
    os.kill(pid, signal.SIGSTOP)
    outcome.recovery.append(await recovered(server, pid))
    outcome.tick()


async def roll(server: Server, _: Load, outcome: Outcome) -> None:
    """Has all workers replaced."""
    before = {each.pid for each in await asyncio.to_thread(workers_of, server)}
    begin = monotonic()
    server.process.send_signal(signal.SIGHUP)
    while before & {each.pid for each in await asyncio.to_thread(workers_of, server)}:
        assert monotonic() < begin + 180
        await asyncio.sleep(0.1)
    outcome.recovery.append(monotonic() - begin)
    outcome.tick()


async def drain(server: Server, _: Load, outcome: Outcome) -> None:
    """Has the server finish its calls and end; its clients leave when it refuses them."""
    begin = monotonic()
    server.process.send_signal(signal.SIGTERM)
    status = await asyncio.to_thread(server.process.wait, 120)
    outcome.answers.append(f"exit status {status}")
    outcome.recovery.append(monotonic() - begin)
    outcome.tick()


def bad_rows(name: str, times: int) -> Deed:
    """Sends rows with which `bad` does something, one after another."""

    async def deed(server: Server, load: Load, outcome: Outcome) -> None:
        watch = asyncio.create_task(_downtimes(server, outcome))
        for index in range(times):
            kind = ("predict", "explain", "stream")[index % 3]
            try:
                await one_call(load.stub, kind, row(index, DEEDS[name]))
                outcome.answers.append("answered")
            except grpc.aio.AioRpcError as error:
                outcome.answers.append(reason_of(error) or f"untyped {error.code().name}")
            outcome.tick()
        await recovered(server)
        watch.cancel()

    return deed


async def _downtimes(server: Server, outcome: Outcome) -> None:
    """Notes for how long at least one worker did not serve, each time."""
    while True:
        begin = monotonic()
        workers = await asyncio.to_thread(workers_of, server)
        if any(each.state != READY for each in workers):
            await recovered(server)
            outcome.recovery.append(monotonic() - begin)
        await asyncio.sleep(0.05)


def crowds(times: int) -> Deed:
    """Sends thousands of calls at once, on several connections."""

    async def deed(_: Server, load: Load, outcome: Outcome) -> None:
        for _time in range(times):
            await load.crowd(CROWD, CONNECTIONS)
            outcome.tick()

    return deed


def improper(seconds: int) -> Deed:
    """Holds connections that say nothing, half of a preface or a byte a second, or never read."""

    async def deed(server: Server, load: Load, outcome: Outcome) -> None:
        unread = raw_clients.never_reads(UNREAD, load.prediction(0).SerializeToString())
        kinds = (raw_clients.silent, raw_clients.half_preface, raw_clients.byte_by_byte, unread)
        async with connected(server.address, [each for each in kinds for _ in range(HELD)]) as held:
            for _second in range(seconds):
                await asyncio.sleep(1)
                outcome.tick()
            outcome.answers += ["closed" if is_closed(each) else "open" for each in held]

    return deed


@dataclass(frozen=True)
class Fault:
    """A fault: something that is done to a server of its own.

    Attributes:
        deed: Makes what is done so many times.
        times: The times of `make faults`.
        few: The times of the tests.
        options: Further settings of the server.
    """

    deed: Callable[[int], Deed]
    times: int = 1
    few: int = 1
    options: tuple[str, ...] = ()


def run(
    name: str, times: int, tick: Callable[[], None] = lambda: None, seconds: float = inf
) -> Outcome:
    """Runs one fault.

    Args:
        name: Its name.
        times: How often.
        tick: Called after each time.
        seconds: The time after which no worker is killed any more.
    """
    fault = FAULTS[name]
    with running(*fault.options) as server:
        return asyncio.run(under_load(name, server, fault.deed(times), tick, seconds))


def _once(deed: Deed) -> Callable[[int], Deed]:
    return lambda _: deed


def _bad(name: str) -> Callable[[int], Deed]:
    return lambda times: bad_rows(name, times)


HASTY: Final = ("--unresponsive_seconds", "3")
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "none": Fault(quiet, 15, 2),
        "kill -9": Fault(kills, 50, 2),
        "SIGSTOP": Fault(_once(stop_one), options=HASTY),
        "SIGHUP (all replaced)": Fault(_once(roll)),
        "SIGTERM (the server ends)": Fault(_once(drain)),
        "a model raises": Fault(_bad("raise"), 30, 6),
        "returns NaN": Fault(_bad("nan"), 30, 6),
        "returns another shape": Fault(_bad("shape"), 30, 6),
        "sleeps for ever": Fault(_bad("sleep"), 3, options=("--stuck_seconds", "3")),
        "os._exit": Fault(_bad("exit"), 3),
        "segfaults": Fault(_bad("segfault"), 3),
        "allocates": Fault(_bad("allocate"), options=("--worker_memory_bytes", str(900 << 20))),
        "2,000 calls at once": Fault(crowds, 5, 1),
        "half-open and slow clients": Fault(improper, 60, 15),
    }
)
