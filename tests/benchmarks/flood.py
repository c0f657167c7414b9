"""A flood: hundreds of large explanations at once, and how far the server's memory grows."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import grpc

from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served
from tests.benchmarks.processes import (
    Server,
    finish_load,
    model_repository,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

REQUESTS: Final = 600
EXAMPLES: Final = 32
SECONDS: Final = 20.0
WARM_UP: Final = 2.0
CHANNELS: Final = 8
MIB: Final = 2**20
ALLOWED: Final = 256 * MIB
"""The server's `max_queue_bytes`."""

BESIDE: Final = 384 * MIB
"""The growth beside works under way and requests that are read, each of which may take `ALLOWED`:
messages in transit, batches that run, and what the allocator keeps
(docs/decisions/0100-methods-state-the-memory-that-they-hold.md)."""

CASES: Final = (
    ("digits", "smooth_grad"),
    ("cnn", "smooth_grad"),
    ("cnn", "expected_gradients"),
    ("cnn", "guided_integrated_gradients"),
)
BESIDE_MODELS: Final = {"digits": "cnn", "cnn": "digits"}
"""The model of the predictions beside the flood of another's explanations."""


@dataclass(frozen=True, slots=True)
class Flooded:
    """What a flood did.

    Attributes:
        ends: How the requests ended by the end of the time; those that had not are left out.
        grown: The growth of the resident memory at most, in bytes.
        predictions: Those of another process, all the while.
    """

    ends: Counter[str]
    grown: int
    predictions: Served


class Flood:
    """The section: fails where the memory grows by more than twice `ALLOWED` and `BESIDE`."""

    def __init__(self, *, quick: bool) -> None:
        self._cases = CASES[1:2] if quick else CASES

    def run(self) -> None:
        """Sends, and prints what came of it."""
        made = table(
            f"{REQUESTS} requests of {EXAMPLES} inputs at once, without a deadline, for "
            f"{SECONDS:.0f} s; {ALLOWED // MIB} MiB allowed",
            (
                *("what", "answered", "refused", "grown", "over allowed"),
                *("predictions", "p50", "p99", "longest"),
            ),
        )
        worst = 0
        for model, method in self._cases:
            with (
                model_repository() as repository,
                our_server(repository, ADCAPTUM_MAX_QUEUE_BYTES=str(ALLOWED)) as server,
            ):
                found = asyncio.run(_flooded(server, model, method))
            worst = max(worst, found.grown)
            made.add_row(
                f"{model}, {method}",
                str(found.ends["OK"]),
                str(found.ends["RESOURCE_EXHAUSTED"]),
                f"{found.grown / MIB:.0f} MiB",
                ratio(found.grown / ALLOWED),
                str(len(found.predictions.latencies)),
                *(duration(found.predictions.quantile(q)) for q in (0.5, 0.99, 1.0)),
            )
        CONSOLE.print(made)
        if worst > 2 * ALLOWED + BESIDE:
            raise SystemExit(f"the server grew by {worst / MIB:.0f} MiB")


async def _flooded(server: Server, model: str, method: str) -> Flooded:
    message = _message(requests.explain(model, load_subject(model).smooth, method, examples=1))
    large = _message(requests.explain(model, load_subject(model).smooth, method, examples=EXAMPLES))
    # Channels of one process share a connection otherwise.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(server.address, options=options) for _ in range(CHANNELS)]
    explain: list[Any] = [each.unary_unary(requests.EXPLAIN) for each in channels]
    ends: Counter[str] = Counter()

    async def send(number: int) -> None:
        try:
            await explain[number % CHANNELS](large)
            ends["OK"] += 1
        except grpc.aio.AioRpcError as error:
            ends[error.code().name] += 1

    # Whatever is loaded at first use is loaded now.
    await explain[0](message)
    other = BESIDE_MODELS[model]
    prediction = requests.predict(other, load_subject(other).plain)
    predicting = start_load(
        Load(server.address, requests.PREDICT, [prediction], 1, WARM_UP, WARM_UP + SECONDS)
    )
    await asyncio.sleep(2 * WARM_UP)
    before = most = server.process.memory_info().rss
    end = perf_counter() + SECONDS
    calls = [asyncio.create_task(send(number)) for number in range(REQUESTS)]
    while perf_counter() < end:
        await asyncio.sleep(0.05)
        most = max(most, server.process.memory_info().rss)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    for channel in channels:
        await channel.close()
    return Flooded(ends, most - before, finish_load(predicting))


def _message(encoded: str) -> bytes:
    return base64.b64decode(encoded)
