"""Waiting for the rest of a burst, simulated with device threads and closed loops of callers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from statistics import mean, median

import pytest

from adcaptum.service.runtime.timing.bursts import Bursts

TICK = 5e-5
OVERHEAD, ROW, FILLED = 2.8e-3, 1.1e-3, 16
READING, ANSWERING = 0.28e-3, 0.22e-3


@dataclass
class Served:
    rates: float
    latency: float
    rows: float


@dataclass
class Thread:
    left: float = 0.0
    rows: list[int] = field(default_factory=list)
    pause: float = 0.0


class Simulation:
    """Callers that each ask again when they have their answer.

    Two cores are divided evenly among the event loop, which reads and answers, and two device
    threads. A batch takes `OVERHEAD` and `ROW` for each of its rows.
    """

    def __init__(self, callers: int, *, gather: bool) -> None:
        self.gather = gather
        self.random, self.bursts, self.now = Random(0), Bursts(), 0.0
        self.waiting: deque[int] = deque()
        self.loop: deque[list[float]] = deque()
        self.threads = [Thread(), Thread()]
        self.sent = {caller: 0.002 * self.random.random() for caller in range(callers)}
        self.travelling = dict(self.sent)
        self.latencies, self.batches = list[float](), list[int]()

    def tick(self) -> None:
        self.now += TICK
        for caller in [each for each, at in self.travelling.items() if at <= self.now]:
            del self.travelling[caller]
            self.loop.append([caller, READING, 1.0])
        running = bool(self.loop) + sum(bool(each.rows) for each in self.threads)
        share = TICK * min(1.0, 2 / max(1, running))
        self.run_loop(share)
        for thread in self.threads:
            self.run_thread(thread, share)

    def run_loop(self, share: float) -> None:
        if not self.loop:
            return
        self.loop[0][1] -= share
        if self.loop[0][1] > 0:
            return
        number, _, reads = self.loop.popleft()
        caller = int(number)
        if reads:
            self.waiting.append(caller)
            self.bursts.arrive(self.now)
        else:
            self.latencies.append(self.now - self.sent[caller])
            again = self.now + 2e-4 + 1e-4 * self.random.random()
            self.sent[caller] = self.travelling[caller] = again

    def run_thread(self, thread: Thread, share: float) -> None:
        if thread.rows:
            thread.left -= share
            if thread.left <= 0:
                self.loop.extend([row, ANSWERING, 0.0] for row in thread.rows)
                thread.rows = []
        elif self.waiting and self.now >= thread.pause and not self.pauses(thread):
            number = min(FILLED, len(self.waiting))
            thread.rows = [self.waiting.popleft() for _ in range(number)]
            if not self.waiting:
                self.bursts.take()
            thread.left = OVERHEAD + ROW * number
            self.batches.append(number)

    def pauses(self, thread: Thread) -> bool:
        if not self.gather or len(self.waiting) >= FILLED:
            return False
        busy = any(each.rows for each in self.threads)
        most = OVERHEAD + FILLED * ROW if busy else OVERHEAD
        thread.pause = self.now + self.bursts.wait(self.now, OVERHEAD, most)
        return thread.pause > self.now


def serve(callers: int, *, gather: bool, seconds: float = 1.5) -> Served:
    simulation = Simulation(callers, gather=gather)
    while simulation.now < seconds:
        simulation.tick()
    latencies, batches = simulation.latencies, simulation.batches
    return Served(len(latencies) / seconds, median(latencies), mean(batches))


@pytest.mark.parametrize("callers", [1, 2, 3])
def test_a_few_callers_wait_for_nobody(callers: int) -> None:
    alone, gathered = serve(callers, gather=False), serve(callers, gather=True)
    assert gathered.rates >= 0.99 * alone.rates
    assert gathered.latency <= 1.01 * alone.latency


@pytest.mark.parametrize(("callers", "rates", "rows"), [(8, 1.1, 3), (16, 1.05, 6), (32, 1.05, 12)])
def test_many_callers_share_batches(callers: int, rates: float, rows: float) -> None:
    alone, gathered = serve(callers, gather=False), serve(callers, gather=True)
    assert gathered.rates >= rates * alone.rates
    assert gathered.latency <= alone.latency
    assert gathered.rows >= rows > alone.rows


def test_more_callers_than_two_batches_hold_lose_nothing() -> None:
    assert serve(64, gather=True).rates >= 0.99 * serve(64, gather=False).rates


def arriving(*times: float) -> Bursts:
    bursts = Bursts()
    for time in times:
        bursts.arrive(time)
    return bursts


def test_the_first_arrivals_of_a_server_wait_for_nobody() -> None:
    assert arriving(1.0).wait(1.0, 0.003, 0.02) == 0


def test_the_wait_ends_with_the_burst() -> None:
    burst = [1.0 + 0.0005 * each for each in range(8)]
    bursts = arriving(*burst)
    assert bursts.wait(burst[-1], 0.003, 0.02) == pytest.approx(0.001)
    assert bursts.wait(burst[-1] + 0.0011, 0.003, 0.02) == 0


def test_the_wait_is_bounded_from_the_first_arrival_on() -> None:
    bursts = arriving(*[1.0 + 0.0005 * each for each in range(40)])
    assert bursts.wait(1.0195, 0.003, 0.02) == pytest.approx(0.0005)
    bursts.take()
    bursts.arrive(1.02)
    assert bursts.wait(1.02, 0.003, 0.02) == pytest.approx(0.001)


def test_a_trickle_is_no_burst() -> None:
    bursts = arriving(*[1.0 + 0.002 * each for each in range(40)])
    assert bursts.wait(1.078, 0.003, 0.02) == 0
