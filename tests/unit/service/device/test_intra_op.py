"""Threads inside the operations of a batch, by what they bring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from adcaptum.service.device.intra_op import AGAIN, FEWEST, IntraOp

KIND = "gradients of a model"


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(threads: IntraOp, times: dict[int, float], batches: int, rows: int = 1) -> list[int]:
    """Runs batches that are alone; returns the threads that each had."""
    chosen = []
    for _ in range(batches):
        number = threads.begin(KIND, rows, alone=True)
        assert torch.get_num_threads() == number
        threads.end(KIND, rows, number, times[number], alone=True)
        chosen.append(number)
    return chosen


@pytest.mark.parametrize(("seconds", "better"), [(0.6, 2), (0.95, 1), (1.5, 1)])
def test_a_batch_that_is_alone_gets_more_threads_where_they_pay(
    seconds: float, better: int
) -> None:
    threads = IntraOp(1, 2)
    chosen = run(threads, {1: 1.0, 2: seconds}, 2 * FEWEST + 4 * AGAIN)[2 * FEWEST :]
    assert chosen.count(better) == len(chosen) - 4


def test_what_changes_is_found_out() -> None:
    threads = IntraOp(1, 2)
    assert run(threads, {1: 1.0, 2: 0.5}, 20)[-1] == 2
    assert run(threads, {1: 1.0, 2: 2.0}, 40)[-1] == 1
    # The machine is free again.
    assert run(threads, {1: 1.0, 2: 0.5}, 20 * AGAIN)[-1] == 2


def test_beside_others_a_batch_has_the_usual_threads_and_teaches_nothing() -> None:
    threads = IntraOp(1, 2)
    run(threads, {1: 1.0, 2: 0.5}, 20)
    for _ in range(100):
        assert threads.begin(KIND, 1, alone=False) == 1
        threads.end(KIND, 1, 1, 0.01, alone=False)
    assert run(threads, {1: 1.0, 2: 0.5}, 1) == [2]


def test_numbers_of_rows_are_told_apart() -> None:
    threads = IntraOp(1, 2)
    run(threads, {1: 1.0, 2: 2.0}, 20, rows=1)
    run(threads, {1: 4.0, 2: 2.0}, 20, rows=8)
    assert run(threads, {1: 1.0, 2: 2.0}, 1, rows=1) == [1]
    assert run(threads, {1: 4.0, 2: 2.0}, 1, rows=9) == [2]


def test_the_cost_of_a_batch_is_that_with_the_usual_threads() -> None:
    threads = IntraOp(1, 2)
    run(threads, {1: 1.0, 2: 0.5}, 20)
    assert threads.end(KIND, 1, 2, 0.5, alone=True) == pytest.approx(2.0)
    assert threads.end(KIND, 1, 1, 1.0, alone=True) == 1.0


def test_one_that_has_all_threads_anyway_measures_nothing() -> None:
    threads = IntraOp(2, 2)
    torch.set_num_threads(1)
    assert threads.begin(KIND, 1, alone=True) == 2
    assert torch.get_num_threads() == 1, "the thread itself sets what never changes"
    assert threads.end(KIND, 1, 2, 1.0, alone=True) == 1.0
