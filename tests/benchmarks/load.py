"""A load generator, in a process of its own: closed loops over requests that are bytes already.

Reads a `Load` as JSON from standard input and writes a `Served` as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count, cycle
from random import Random
from time import perf_counter, time_ns
from typing import Any

import grpc
import uvloop

from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        address: Where to.
        path: The RPC's.
        requests: The messages, in base64; each client sends one after another, in turn.
        clients: How many loops there are, each with a connection of its own.
        warm_up: For so many seconds nothing is counted.
        seconds: For so many seconds everything is.
        unique: Which share of the requests has a seed of its own, and so is like no other.
        core: The only core that the generator may use; None: any.
        pace: The requests a second of each client; 0: the next one comes when one is answered.
    """

    address: str
    path: str
    requests: list[str]
    clients: int
    warm_up: float
    seconds: float
    unique: float = 0.0
    core: int | None = None
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """What came back.

    Attributes:
        latencies: Of every answer that came within the time, in seconds.
        seconds: That time.
        calls: How many answers came in all, before and after that time too.
        elapsed: From the first request to the last answer of these, in seconds.
    """

    latencies: list[float]
    seconds: float
    calls: int
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    @property
    def overall_rate(self) -> float:
        """Answers per second of all the time, for loads of which a round takes seconds."""
        return self.calls / self.elapsed

    def quantile(self, q: float) -> float:
        """A quantile of the latencies, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def pooled(parts: Sequence[Served]) -> Served:
    """Several measurements of the same thing as one."""
    return Served(
        [latency for part in parts for latency in part.latencies],
        sum(part.seconds for part in parts),
        sum(part.calls for part in parts),
        sum(part.elapsed for part in parts),
    )


async def generate(load: Load) -> Served:
    """Sends, closed loop, and measures."""
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    requests = [base64.b64decode(each) for each in load.requests]
    latencies: list[float] = []
    calls = 0
    # Another process has not begun at the same number.
    seeds, chance = count(time_ns() % 2**40), Random(0)
    begin = perf_counter() + load.warm_up
    end = begin + load.seconds
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(load.address, options) for _ in range(load.clients)]

    async def client(number: int, channel: grpc.aio.Channel) -> None:
        # Without serialisers bytes go in and come out.
        nonlocal calls
        call: Any = channel.unary_unary(load.path)
        turns = cycle([*requests[number % len(requests) :], *requests[: number % len(requests)]])
        due = perf_counter()
        while (start := perf_counter()) < end:
            if load.pace:
                due = max(start, due + 1 / load.pace)
                await asyncio.sleep(due - start)
                start = perf_counter()
            request = next(turns)
            await call(request + _seed(next(seeds)) if chance.random() < load.unique else request)
            now = perf_counter()
            calls += 1
            if begin <= now <= end:
                latencies.append(now - start)

    first = perf_counter()
    try:
        await asyncio.gather(*map(client, count(), channels))
    finally:
        for channel in channels:
            await channel.close()
    return Served(latencies, load.seconds, calls, perf_counter() - first)


def _seed(seed: int) -> bytes:
    """A request that has nothing but a seed.

    Behind another one it is merged with it: of a field that comes twice the last counts.
    """
    spec = explain_spec_pb2.ExplainSpec(seed=seed)
    return pb.ExplainRequest(spec=spec).SerializeToString()


def main() -> None:
    """Generates the load that standard input describes."""
    load = Load(**json.load(sys.stdin))
    json.dump(asdict(uvloop.run(generate(load))), sys.stdout)


if __name__ == "__main__":
    main()
