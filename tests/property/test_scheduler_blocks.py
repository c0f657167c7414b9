"""Jobs whose rows come in blocks are cut between them, whatever shares the batch."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings, strategies as st

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler

BLOCK = 8


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=3), min_size=1, max_size=8),
    capacity=st.sampled_from([1, 5, 8, 13, 16, 64]),
    quantum=st.sampled_from([3, 8, 64]),
    chance=st.randoms(),
)
def test_rows_are_cut_between_blocks_and_each_is_given_out_once(
    sizes: list[list[int]], capacity: int, quantum: int, chance: random.Random
) -> None:
    scheduler: Scheduler[int] = Scheduler(BatchSizer(fixed=capacity), quantum=quantum)
    seen: dict[Job[int], list[int]] = {}
    arrivals = deque(
        (Request(priority=chance.choice([*Priority])), [Job("k", n, 0, BLOCK) for n in rows])
        for rows in sizes
    )
    running: list[Batch[int]] = []
    while arrivals or running or scheduler.waiting_rows:
        if arrivals and chance.random() < 0.5:
            request, jobs = arrivals.popleft()
            scheduler.add(request, jobs)
            seen |= {job: [] for job in jobs}
        if (batch := scheduler.schedule(0.0)) is not None:
            running.append(batch)
            assert batch.rows <= capacity or batch.rows <= BLOCK
            for job, start, stop in batch.slices:
                assert start % BLOCK == 0
                assert stop % BLOCK == 0 or stop == job.rows
                seen[job] += range(start, stop)
        if running and chance.random() < 0.7:
            scheduler.update(running.pop(chance.randrange(len(running))), seconds=1.0)
    assert all(sorted(rows) == list(range(job.rows)) for job, rows in seen.items())
    statistics = scheduler.statistics()
    assert statistics.evaluated_rows == statistics.added_rows == sum(map(sum, sizes))


def test_a_block_runs_though_the_capacity_is_smaller() -> None:
    scheduler: Scheduler[None] = Scheduler(BatchSizer(fixed=2))
    scheduler.add(Request(), [Job("k", 11, None, BLOCK)])
    batch = scheduler.schedule(0.0)
    assert batch is not None
    assert [(start, stop) for _, start, stop in batch.slices] == [(0, 8)]


def test_room_that_holds_no_whole_block_is_left_empty() -> None:
    scheduler: Scheduler[None] = Scheduler(BatchSizer(fixed=12))
    for _ in range(2):
        scheduler.add(Request(), [Job("k", 8, None, BLOCK)])
    batch = scheduler.schedule(0.0)
    assert batch is not None
    assert batch.rows == 8


def test_a_short_last_block_fits_beside_another() -> None:
    scheduler: Scheduler[None] = Scheduler(BatchSizer(fixed=12))
    for rows in (8, 3):
        scheduler.add(Request(), [Job("k", rows, None, BLOCK)])
    batch = scheduler.schedule(0.0)
    assert batch is not None
    assert batch.rows == 11
