"""A soak: minutes of answers, cancels and errors, and what the server's memory does meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from time import perf_counter
from typing import Any, Final

from torch import Tensor

from adcaptum.client import AdcaptumError, AsyncClient
from tests.benchmarks.processes import Server, model_repository, our_server
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, table

CLIENTS: Final = 12
READINGS: Final = 10
SECONDS: Final = 600.0
NAMES: Final = ("cells", "digits")
METHODS: Final = (
    "deep_lift", "expected_gradients", "gradient_shap", "guided_backprop", "input_x_gradient",
    "integrated_gradients", "lrp", "saliency", "shapley_value_sampling", "smooth_grad",
)  # fmt: skip


class Soak:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._seconds = SECONDS / 20 if quick else SECONDS

    def run(self) -> None:
        """Sends, and prints the memory at equal times."""
        with model_repository() as repository, our_server(repository) as server:
            readings, ends = asyncio.run(self._soaked(server))
        first = readings[1][1]
        made = table(
            f"{self._seconds:.0f} s, {CLIENTS} clients at once", ("after", "resident", "x second")
        )
        for seconds, resident in readings:
            made.add_row(f"{seconds:.0f} s", f"{resident:.0f} MiB", f"{resident / first:.3f}")
        CONSOLE.print(made)
        CONSOLE.print(", ".join(f"{count} {end}" for end, count in ends.most_common()))

    async def _soaked(self, server: Server) -> tuple[list[tuple[float, float]], Counter[str]]:
        inputs = {name: load_subject(name).plain.inputs for name in NAMES}
        ends: Counter[str] = Counter()
        begin = perf_counter()
        readings = []
        async with AsyncClient(server.address) as client:
            callers = [
                asyncio.create_task(
                    _call(client, inputs, random.Random(i), ends, begin + self._seconds)
                )
                for i in range(CLIENTS)
            ]
            for i in range(READINGS + 1):
                await asyncio.sleep(max(0.0, begin + i * self._seconds / READINGS - perf_counter()))
                resident = server.process.memory_info().rss / 2**20
                readings.append((perf_counter() - begin, resident))
            await asyncio.gather(*callers)
        return readings, ends


async def _call(
    client: AsyncClient,
    inputs: dict[str, Tensor],
    chance: random.Random,
    ends: Counter[str],
    end: float,
) -> None:
    """Asks again and again: most is answered, some is cancelled, some is wrong, some is late."""
    while perf_counter() < end:
        name = chance.choice(NAMES)
        # No two inputs are the same: nothing comes out of the cache.
        x = inputs[name][chance.randrange(16)][None].numpy() * (1 + chance.random() / 100)
        options: dict[str, Any] = {
            "methods": chance.choice(METHODS),
            "targets": 0,
            "timeout": chance.choice([None, None, None, 0.02]),
        }
        if chance.random() < 0.1:
            options["targets"] = 99
        asked = asyncio.ensure_future(client.explain(name, x, **options))
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() / 50)
            asked.cancel()
        try:
            await asked
        except asyncio.CancelledError:
            ends["cancelled"] += 1
        except AdcaptumError as error:
            ends[type(error).__name__] += 1
        else:
            ends["answered"] += 1
