"""The gathering rule, driven by a fake clock through closed loops, bursts, trickles and mixes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count
from random import Random
from statistics import fmean, median

import pytest

from adcaptum.service.handlers.joint.gathering_rule import PROBE_TURNS, TURN_SECONDS, GatheringRule

HAND_OVER = 0.0001
"""The time in which gRPC hands over one request."""

FIXED = 0.0003
"""The time of a turn beside its requests."""

EACH = 0.00006
"""The time of a request in a turn, answer included."""

BACK = 0.0004
"""The time after which a caller that was answered asks again."""


class Simulation:
    """A server with the rule, and callers; only the clock is fake.

    The server does one thing at a time: it takes over a request, or runs a turn. Requests that
    have come and are not taken over cannot be seen by the rule.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rule = GatheringRule()
        self.now = 0.0
        self.turns: list[int] = []
        self.waits: list[float] = []
        self.latencies: list[float] = []
        self._events: list[tuple[float, int, int]] = []  # when a request is sent, and by whom
        self._serials = count()
        self._sent: dict[int, float] = {}
        self._gathered: list[int] = []
        self._random = Random(seed)
        self._loops: set[int] = set()

    def close_loops(self, callers: Sequence[int]) -> None:
        """Lets callers ask again and again, each as soon as it has its answer."""
        self._loops |= set(callers)
        for caller in callers:
            self.send(caller, self.now + self._random.random() * BACK)

    def keep_only(self, caller: int) -> None:
        """Ends all loops but one."""
        self._loops = {caller}

    def send(self, caller: int, at: float) -> None:
        heapq.heappush(self._events, (at, next(self._serials), caller))

    def run(self, until: float) -> None:
        """Runs the server until some time, or until nobody asks any more."""
        while self.now < until:
            due = self.rule.due(self.now) if self._gathered else float("inf")
            sent = self._events[0][0] if self._events else float("inf")
            if due <= self.now and self._gathered:
                self._turn()
            elif sent <= self.now:
                self._take_over()
            elif min(due, sent) == float("inf"):
                return
            else:
                self.now = max(self.now, min(due, sent))

    def _take_over(self) -> None:
        at, _, caller = heapq.heappop(self._events)
        self.now += HAND_OVER
        self._sent[caller] = at
        self._gathered.append(caller)
        self.rule.arrive(self.now)

    def _turn(self) -> None:
        members, self._gathered = self._gathered, []
        begun = self.now
        self.waits.append(begun - min(self._sent[each] for each in members))
        self.rule.begin(begun)
        self.turns.append(len(members))
        self.now += FIXED
        for member in members:
            self.now += EACH
            self.rule.answer(self.now)
            self.latencies.append(self.now - self._sent.pop(member))
            if member in self._loops:
                self.send(member, self.now + BACK * (0.5 + self._random.random()))
        self.rule.turned(self.now - begun)

    def forget(self) -> None:
        """Forgets what has been measured so far."""
        self.turns, self.waits, self.latencies = [], [], []


class Never(GatheringRule):
    """Waits for nobody."""

    def due(self, now: float) -> float:
        return now


def closed(callers: int, seconds: float = 2.0, rule: GatheringRule | None = None) -> Simulation:
    simulation = Simulation()
    simulation.rule = rule or simulation.rule
    simulation.close_loops(range(callers))
    simulation.run(0.5)
    simulation.forget()
    simulation.run(0.5 + seconds)
    return simulation


def per_request(simulation: Simulation) -> float:
    """The mean number of requests in a turn, as requests see it."""
    return sum(n * n for n in simulation.turns) / sum(simulation.turns)


def test_a_lone_caller_does_not_wait() -> None:
    alone = closed(1)
    least = HAND_OVER + FIXED + EACH
    assert median(alone.latencies) == pytest.approx(least)
    # Probes are rare, and no longer than a turn may be.
    late = sum(each > least * 1.01 for each in alone.latencies)
    assert late <= len(alone.latencies) / PROBE_TURNS[1] + 3
    assert max(alone.latencies) <= least + TURN_SECONDS[0] * 1.01


@pytest.mark.parametrize(("callers", "fewest"), [(2, 1.0), (8, 4.0), (32, 12.0), (128, 12.0)])
def test_callers_in_closed_loops_share_turns(callers: int, fewest: float) -> None:
    assert fmean(closed(callers).turns) >= fewest


@pytest.mark.parametrize("callers", [2, 3, 8, 32, 128])
def test_waiting_gives_more_answers_than_not_waiting(callers: int) -> None:
    answers = len(closed(callers).latencies)
    never = len(closed(callers, rule=Never()).latencies)
    # Probes cost some per cent where two callers keep the server busy.
    assert answers >= 0.93 * never
    if callers >= 8:
        assert answers >= 1.5 * never


def test_a_turn_is_never_waited_for_longer_than_a_turn_may_take() -> None:
    for callers in (1, 3, 8, 32):
        simulation = closed(callers)
        # A request may have been sent while the turn before ran.
        queued = max(simulation.turns) * (HAND_OVER + EACH) + FIXED
        assert max(simulation.waits) <= TURN_SECONDS[1] + 2 * queued


def test_a_trickle_never_waits() -> None:
    simulation, random = Simulation(), Random(1)
    at = 0.0
    for caller in range(200):
        at += random.uniform(0.01, 0.03)
        simulation.send(caller, at)
    simulation.run(at + 1)
    assert len(simulation.latencies) == 200
    assert max(simulation.latencies) == pytest.approx(HAND_OVER + FIXED + EACH)


def test_open_arrivals_lose_less_than_a_turn_each() -> None:
    simulation, random = Simulation(), Random(2)
    at = 0.0
    for caller in range(3000):
        at += random.expovariate(1000)
        simulation.send(caller, at)
    simulation.run(at + 1)
    unwaited, random, at, free = [], Random(2), 0.0, 0.0
    for _ in range(3000):
        at += random.expovariate(1000)
        free = max(free, at) + HAND_OVER + FIXED + EACH
        unwaited.append(free - at)
    assert len(simulation.latencies) == 3000
    assert fmean(simulation.latencies) <= fmean(unwaited) + TURN_SECONDS[0]


def test_bursts_are_gathered_and_what_follows_them_hardly_waits() -> None:
    simulation = Simulation()
    for burst in range(50):
        for caller in range(16):
            simulation.send(caller, burst * 0.1)
    simulation.run(10)
    assert len(simulation.latencies) == 50 * 16
    simulation.forget()
    begin = simulation.now
    for number in range(100):
        simulation.send(0, begin + 0.02 * (1 + number))
    simulation.run(begin + 10)
    least = HAND_OVER + FIXED + EACH
    assert sum(each > least * 1.01 for each in simulation.latencies) <= 20


def test_the_rule_follows_a_change_of_callers() -> None:
    simulation = closed(32)
    simulation.keep_only(0)
    begin = simulation.now
    simulation.run(begin + 0.5)
    simulation.forget()
    simulation.run(begin + 1.0)
    assert median(simulation.latencies) == pytest.approx(HAND_OVER + FIXED + EACH)
    simulation.close_loops(range(1, 32))
    simulation.run(begin + 1.5)
    simulation.forget()
    simulation.run(begin + 2.5)
    assert fmean(simulation.turns) >= 12


def test_a_closed_loop_beside_a_trickle_is_gathered() -> None:
    simulation = closed(8)
    begin = simulation.now
    for number in range(100):
        simulation.send(100 + number, begin + 0.01 * number)
    simulation.forget()
    simulation.run(begin + 1.0)
    assert fmean(simulation.turns) >= 3.5


def test_requests_that_leave_are_not_waited_for_in_vain() -> None:
    rule = GatheringRule()
    rule.arrive(0.0)
    rule.leave()
    assert rule.gathered == 0
    rule.arrive(1.0)
    assert rule.due(1.0) == 1.0
