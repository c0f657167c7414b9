"""Requests routed among workers that answer them one after another, on a fake clock."""

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from adcaptum.service.front.router import Asked, Router
from adcaptum.service.supervisor.slot import Slot

SECONDS = {"short": 0.001, "long": 1.0}


@dataclass(eq=False)
class Worker:
    """A worker with one device, which takes its requests as they come."""

    index: int
    outstanding: int = 0
    outstanding_seconds: float = 0.0
    free_at: float = 0.0
    computed: set[int] = field(default_factory=set)
    ends: dict[int, float] = field(default_factory=dict)
    ready: bool = True
    prompt: bool = True
    listening: bool = True
    stopping: bool = False
    serving: frozenset[str] = frozenset({"m"})

    @property
    def seat(self) -> Any:
        return type("Seat", (), {"worker": str(self.index)})


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        waits: The waits by kind of request.
        idle: The requests that waited for another while a worker had none.
        places: The workers that computed each request, by its key.
    """

    waits: dict[str, list[float]] = field(default_factory=lambda: {"short": [], "long": []})
    idle: int = 0
    places: dict[int, set[int]] = field(default_factory=dict)


async def simulate(
    workers: int, load: float, seed: int, *, keys: int, choose: Callable[..., Any] | None = None
) -> Outcome:
    """Sends 4,000 requests, about half of whose seconds are of long ones.

    Args:
        workers: The number of workers.
        load: The seconds of work in a second, in times of the workers.
        seed: Decides the requests.
        keys: The number of different requests.
        choose: Chooses among the workers instead of the router.
    """
    made = [Worker(index) for index in range(workers)]
    slots = [cast("Slot", type("Slot", (), {"process": each, "models": ()})) for each in made]
    router, chance, outcome = Router(slots, 0.0), random.Random(seed), Outcome()
    under_way: list[tuple[float, int, Callable[[], None]]] = []
    now, share = 0.0, 0.001
    mean = share * SECONDS["long"] + (1 - share) * SECONDS["short"]
    for number in range(4000):
        now += chance.expovariate(load * workers / mean)
        while under_way and under_way[0][0] <= now:
            heapq.heappop(under_way)[2]()
        kind = "long" if chance.random() < share else "short"
        key = chance.randrange(keys) * 2 + (kind == "long")
        asked = Asked("m", key, ((kind, "m"),), shares=True)
        worker = cast("Worker", await router.choose(asked, None))
        if choose is not None:
            worker = choose(made, key)
        begin = max(now, worker.free_at)
        if key in worker.computed:
            end, seconds = max(now, worker.ends[key]), 0.0
        else:
            end, seconds = begin + SECONDS[kind], SECONDS[kind]
            worker.free_at, worker.ends[key] = end, end
            worker.computed.add(key)
            outcome.places.setdefault(key, set()).add(worker.index)
            outcome.waits[kind].append(begin - now)
            outcome.idle += begin > now and any(not each.outstanding for each in made)
        trip = router.sent(cast("Any", worker), asked)
        taken = trip.__enter__()

        def leave(trip: Any = trip, taken: Any = taken, seconds: float = seconds) -> None:
            taken.seconds = seconds
            trip.__exit__(None, None, None)

        heapq.heappush(under_way, (end, number, leave))
    return outcome


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("load", [0.3, 0.8])
def test_none_waits_while_a_worker_idles_and_equal_requests_meet(workers: int, load: float) -> None:
    outcome = asyncio.run(simulate(workers, load, seed=1, keys=1000))
    assert outcome.idle == 0
    assert outcome.waits["short"]
    assert {len(places) for places in outcome.places.values()} == {1}


def test_short_requests_wait_less_than_with_a_bound_on_their_number() -> None:
    def fewest(made: list[Worker], key: int) -> Worker:
        """The rule of decision 130: a share of the number of requests."""
        most = -(-1.25 * (sum(each.outstanding for each in made) + 1) // len(made))
        ordered = sorted(made, key=lambda each: hash((key, each.index)))
        return next(each for each in ordered if each.outstanding < most)

    mean = {}
    for name, rule in (("seconds", None), ("number", fewest)):
        waits = [
            wait
            for seed in range(4)
            for wait in asyncio.run(simulate(4, 0.3, seed, keys=10**6, choose=rule)).waits["short"]
        ]
        mean[name] = float(np.mean(waits))
    assert mean["seconds"] < 0.8 * mean["number"], mean
