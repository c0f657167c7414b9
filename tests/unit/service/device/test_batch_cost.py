"""The cost of batches: shares of a device's time, of any threads in any order."""

from __future__ import annotations

from random import Random

import pytest
import torch

from adcaptum.service.device.batch_cost import BatchCost, SharedTime


def test_one_alone_is_charged_all_of_its_time() -> None:
    time = SharedTime()
    begun = time.begin(10.0)
    assert time.end(begun, 10.5) == pytest.approx(0.5)
    begun = time.begin(20.0)
    assert time.end(begun, 20.25) == pytest.approx(0.25)


def test_two_side_by_side_are_charged_half_each() -> None:
    time = SharedTime()
    first = time.begin(0.0)
    second = time.begin(1.0)
    assert time.end(first, 3.0) == pytest.approx(2.0)
    assert time.end(second, 4.0) == pytest.approx(2.0)


def test_charges_add_up_to_the_time_in_use() -> None:
    time, chance = SharedTime(), Random(1)
    running: list[float] = []
    now = used = charged = 0.0
    for _ in range(500):
        step = chance.random()
        used += step if running else 0.0
        now += step
        if running and chance.random() < 0.5:
            charged += time.end(running.pop(chance.randrange(len(running))), now)
        elif len(running) < 3:
            running.append(time.begin(now))
    for begun in running:
        charged += time.end(begun, now)
    assert charged == pytest.approx(used)


def test_batches_of_a_processor_have_the_time_of_their_thread() -> None:
    cost = BatchCost(torch.device("cpu"))
    first, second = cost.begin(), cost.begin()
    torch.randn(200, 200) @ torch.randn(200, 200)
    inner, outer = second(), first()
    assert 0 < inner <= outer


def test_batches_of_a_device_share_its_time() -> None:
    cost = BatchCost(torch.device("meta"))
    alone = cost.begin()
    both = cost.begin()
    torch.randn(200, 200) @ torch.randn(200, 200)
    assert both() + alone() > 0
