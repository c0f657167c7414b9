"""Limits that memory sets, and what becomes of them."""

import random
from itertools import pairwise

import pytest

from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.memory_limit import PROBE


def fitting(sizer: BatchSizer, memory: int) -> int:
    """Run a full batch where so many rows fit into memory; returns how many were tried."""
    rows = sizer.rows("key")
    if rows > memory:
        sizer.out_of_memory("key", rows)
    else:
        sizer.observe("key", rows, 1e-3 + 1e-6 * rows)
    return rows


def test_of_several_limits_of_memory_the_least_counts() -> None:
    sizer = BatchSizer(max_rows=512)
    sizer.out_of_memory("key", 100)
    sizer.out_of_memory("key", 400)
    assert sizer.limit("key") == 50


def test_a_limit_from_a_moment_of_pressure_does_not_last() -> None:
    sizer = BatchSizer(max_rows=512, fixed=512)
    assert fitting(sizer, 512) == 512
    while fitting(sizer, 20) > 20:
        pass
    assert sizer.limit("key") == 16
    tried = [fitting(sizer, 512) for _ in range(5 * PROBE + 1)]
    assert tried == sorted(tried)
    assert tried.count(16) <= PROBE
    assert tried[-1] == sizer.limit("key") == 512


def test_a_limit_that_is_real_is_probed_less_and_less_often() -> None:
    sizer = BatchSizer(max_rows=512, fixed=512)
    tried = [fitting(sizer, 100) for _ in range(100 * PROBE)]
    probes = [index for index, rows in enumerate(tried) if rows == 128]
    gaps = [after - before for before, after in pairwise(probes)]
    # The first of them was not a probe.
    assert gaps == [PROBE * 2**power + 1 for power in range(6)]
    assert set(tried) == {512, 256, 128, 64}


def test_a_limit_that_was_overcome_is_forgotten() -> None:
    sizer = BatchSizer(max_rows=512, fixed=512)
    for _ in range(8 * PROBE):
        fitting(sizer, 300)
    for _ in range(16 * PROBE):
        fitting(sizer, 512)
    assert sizer.limit("key") == 512
    fitting(sizer, 300)
    tried = [fitting(sizer, 512) for _ in range(PROBE + 1)]
    assert tried == [*[256] * PROBE, 512]


def test_batches_that_are_not_full_do_not_lift_a_limit() -> None:
    sizer = BatchSizer(max_rows=512, fixed=512)
    sizer.out_of_memory("key", 256)
    for _ in range(10 * PROBE):
        sizer.observe("key", 127, 0.01)
    assert sizer.limit("key") == 128


def test_two_batches_that_fail_at_the_same_moment_are_one_failure() -> None:
    sizer = BatchSizer(max_rows=512, fixed=512)
    sizer.out_of_memory("key", 512)
    sizer.observe("key", 256, 0.01)
    sizer.out_of_memory("key", 512)
    tried = [fitting(sizer, 512) for _ in range(PROBE)]
    assert tried == [*[256] * (PROBE - 1), 512]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_memory_does_limits_are_kept_and_failures_are_few(seed: int) -> None:
    rng = random.Random(seed)
    sizer = BatchSizer(max_rows=lambda key: 512)
    memory, failures, changes = 512, 0, 0
    for _ in range(4000):
        if rng.random() < 0.002:
            memory, changes = rng.choice((3, 40, 100, 300, 512)), changes + 1
        rows = fitting(sizer, memory)
        failures += rows > memory
        assert 1 <= rows <= sizer.limit("key") or rows > memory
        assert rows <= 512
    # Each change costs as many halvings as there are sizes; probes between them are rare.
    assert failures <= 9 * (changes + 1) + 4000 / PROBE
