"""Faults under load: what is done to a server, and what became of the calls meanwhile."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

import grpc

from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2, repository_service_pb2
from tests.faults.load import SECONDS, Load, Tally, reason_of, row
from tests.faults.repository import DEEDS
from tests.faults.running import running, workers_of
from tests.integration.conftest import Server

READY = repository_service_pb2.WORKER_STATE_READY
BAD = model_pb2.ModelRef(name="bad")


@dataclass
class Outcome:
    """What became of a fault.

    Attributes:
        fault: Its name.
        tally: The calls of the model `good`.
        answers: The ends of the calls that caused the fault.
        recovery: The seconds until all workers served again, for each time.
    """

    fault: str
    tally: Tally = field(default_factory=Tally)
    answers: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)


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


Deed = Callable[[Server, Load, Outcome], Awaitable[None]]


async def under_load(fault: str, server: Server, deed: Deed) -> Outcome:
    """Does something to a server while it serves `good`."""
    outcome, load = Outcome(fault), Load(server.address)
    await load.learn()
    running_load = asyncio.create_task(load.run())
    await asyncio.sleep(1)
    await deed(server, load, outcome)
    await asyncio.sleep(1)
    load.stop()
    outcome.tally = await running_load
    await load.channel.close()
    return outcome


def kills(times: int) -> Deed:
    """Kills a worker again and again, each time when all serve."""

    async def deed(server: Server, _: Load, outcome: Outcome) -> None:
        for index in range(times):
            workers = await asyncio.to_thread(workers_of, server)
            pid = workers[index % len(workers)].pid
            os.kill(pid, signal.SIGKILL)
            outcome.recovery.append(await recovered(server, pid))

    return deed


async def stop_one(server: Server, _: Load, outcome: Outcome) -> None:
    """Stops a worker's process, which then answers nothing, until it is replaced."""
    pid = (await asyncio.to_thread(workers_of, server))[0].pid
    os.kill(pid, signal.SIGSTOP)
    outcome.recovery.append(await recovered(server, pid))


async def roll(server: Server, _: Load, outcome: Outcome) -> None:
    """Has all workers replaced."""
    before = {each.pid for each in await asyncio.to_thread(workers_of, server)}
    begin = monotonic()
    server.process.send_signal(signal.SIGHUP)
    while before & {each.pid for each in await asyncio.to_thread(workers_of, server)}:
        assert monotonic() < begin + 180
        await asyncio.sleep(0.1)
    outcome.recovery.append(monotonic() - begin)


def bad_rows(name: str, times: int) -> Deed:
    """Sends rows with which `bad` does something, one after another."""

    async def deed(server: Server, load: Load, outcome: Outcome) -> None:
        for index in range(times):
            request = pb.PredictRequest(model=BAD, inputs=[row(index, DEEDS[name])])
            try:
                await load.stub.Predict(request, timeout=SECONDS)
                outcome.answers.append("answered")
            except grpc.aio.AioRpcError as error:
                outcome.answers.append(reason_of(error) or f"untyped {error.code().name}")
        outcome.recovery.append(await recovered(server))

    return deed


def run(fault: str, deed: Deed, *options: str) -> Outcome:
    """Runs one fault on a server of its own."""
    with running(*options) as server:
        return asyncio.run(under_load(fault, server, deed))


FAULTS: dict[str, Callable[[int], Outcome]] = {
    "kill -9": lambda times: run("kill -9", kills(times)),
    "SIGSTOP": lambda _: run("SIGSTOP", stop_one, "--unresponsive_seconds", "3"),
    "SIGHUP (all replaced)": lambda _: run("SIGHUP (all replaced)", roll),
    "a model raises": lambda _: run("a model raises", bad_rows("raise", 20)),
    "returns NaN": lambda _: run("returns NaN", bad_rows("nan", 20)),
    "returns another shape": lambda _: run("returns another shape", bad_rows("shape", 20)),
    "sleeps for ever": lambda _: run(
        "sleeps for ever", bad_rows("sleep", 1), "--stuck_seconds", "3"
    ),
    "os._exit": lambda _: run("os._exit", bad_rows("exit", 2)),
    "segfaults": lambda _: run("segfaults", bad_rows("segfault", 2)),
    "allocates": lambda _: run(
        "allocates", bad_rows("allocate", 1), "--worker_memory_bytes", str(900 << 20)
    ),
}
