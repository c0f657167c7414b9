from collections.abc import Hashable
from itertools import count
from time import process_time

import pytest

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler

Rows = dict[object, list[tuple[int, int]]]


def scheduler(rows: int = 8, quantum: int = 64) -> Scheduler[object]:
    return Scheduler(BatchSizer(fixed=rows), quantum=quantum)


def add(
    target: Scheduler[object], name: str, *rows: int, key: Hashable = "key", **about: object
) -> Request:
    """Add a request with one job for each number of rows; payloads are the request's name."""
    request = Request(name, **about)  # type: ignore[arg-type]
    target.add(request, [Job(key, n, name) for n in rows])
    return request


def take(target: Scheduler[object], now: float = 0.0) -> Batch[object]:
    batch = target.schedule(now)
    assert batch is not None
    return batch


def contents(batch: Batch[object]) -> list[tuple[object, int, int]]:
    return [(piece.job.payload, piece.start, piece.stop) for piece in batch.slices]


def run(target: Scheduler[object]) -> list[object]:
    """Run everything that waits; returns the payloads of the jobs in the order they finished."""
    finished: list[object] = []
    while (batch := target.schedule(0.0)) is not None:
        finished += [job.payload for job in target.update(batch, seconds=0.01).finished]
    return finished


def test_nothing_waiting_gives_no_batch() -> None:
    assert scheduler().schedule(0.0) is None


def test_a_batch_is_given_out_at_once_even_if_it_is_not_full() -> None:
    target = scheduler(rows=8)
    add(target, "a", 3)
    batch = take(target)
    assert contents(batch) == [("a", 0, 3)]
    assert (batch.rows, batch.capacity, batch.key) == (3, 8, "key")


def test_rows_of_several_requests_share_a_batch() -> None:
    target = scheduler(rows=8)
    requests = [add(target, "a", 3), add(target, "b", 4)]
    batch = take(target)
    assert contents(batch) == [("a", 0, 3), ("b", 0, 4)]
    assert batch.requests == requests


def test_a_large_job_is_cut_into_batches_in_the_order_of_its_rows() -> None:
    target = scheduler(rows=8)
    add(target, "a", 20)
    assert [contents(take(target)) for _ in range(3)] == [
        [("a", 0, 8)],
        [("a", 8, 16)],
        [("a", 16, 20)],
    ]


def test_jobs_of_a_request_go_in_the_order_in_which_they_were_added() -> None:
    target = scheduler(rows=8)
    request = Request()
    target.add(request, [Job("key", 3, "first"), Job("key", 3, "second")])
    target.add(request, [Job("key", 3, "third")])
    assert contents(take(target)) == [("first", 0, 3), ("second", 0, 3), ("third", 0, 2)]


def test_no_batch_mixes_keys() -> None:
    target = scheduler(rows=8)
    add(target, "a", 2, key="x")
    add(target, "b", 2, key="y")
    add(target, "c", 2, key="x")
    assert [(batch.key, batch.rows) for batch in (take(target), take(target))] == [
        ("x", 4),
        ("y", 2),
    ]


def test_a_request_may_have_rows_of_several_keys() -> None:
    target = scheduler(rows=8)
    request = Request()
    target.add(request, [Job("x", 10, "x"), Job("y", 10, "y")])
    assert sorted(str(name) for name in run(target)) == ["x", "y"]
    assert (request.pending_rows, request.served_rows) == (0, 20)


def test_update_returns_the_jobs_whose_last_row_was_in_the_batch() -> None:
    target = scheduler(rows=8)
    add(target, "a", 6)
    add(target, "b", 6)
    first, second = take(target), take(target)
    assert [job.payload for job in target.update(first, seconds=0.01).finished] == ["a"]
    assert [job.payload for job in target.update(second, seconds=0.01).finished] == ["b"]


def test_batches_may_end_in_another_order_than_they_began() -> None:
    target = scheduler(rows=8)
    add(target, "a", 16)
    first, second = take(target), take(target)
    assert target.update(second, seconds=0.01).finished == []
    assert [job.payload for job in target.update(first, seconds=0.01).finished] == ["a"]


def test_a_batch_ends_only_once() -> None:
    target = scheduler()
    add(target, "a", 1)
    batch = take(target)
    target.update(batch, seconds=0.01)
    for end in (target.out_of_memory, target.split):
        with pytest.raises(ValueError, match="batch 1 is not running"):
            end(batch)


def test_a_batch_of_another_scheduler_is_refused() -> None:
    one, other = scheduler(), scheduler()
    for target in (one, other):
        add(target, "a", 1)
    batch = take(one)
    take(other)
    with pytest.raises(ValueError, match="not running"):
        other.update(batch, seconds=0.01)


def test_predictions_come_before_explanations_that_wait_longer() -> None:
    target = scheduler(rows=8)
    add(target, "explanation", 100, key="gradient")
    add(target, "prediction", 1, key="forward", priority=Priority.PREDICT)
    assert contents(take(target)) == [("prediction", 0, 1)]
    assert take(target).key == "gradient"


def test_explanations_of_the_same_key_fill_up_a_batch_of_predictions() -> None:
    target = scheduler(rows=8)
    add(target, "explanation", 100)
    add(target, "prediction", 1, priority=Priority.PREDICT)
    assert contents(take(target)) == [("prediction", 0, 1), ("explanation", 0, 7)]


def test_predictions_are_served_in_the_order_of_arrival() -> None:
    target = scheduler(rows=1)
    for name in "abc":
        add(target, name, 1, priority=Priority.PREDICT)
    assert run(target) == ["a", "b", "c"]


def test_a_single_row_does_not_wait_for_ten_thousand() -> None:
    target = scheduler(rows=8)
    add(target, "large", 10_000)
    for _ in range(100):
        target.update(take(target), seconds=0.01)
    add(target, "small", 1)
    assert ("small", 0, 1) in contents(take(target))


def test_a_stream_of_single_rows_does_not_starve_a_large_request() -> None:
    target = scheduler(rows=1)
    large = add(target, "large", 50)
    for _ in range(9):
        add(target, "small", 1)
    for _ in range(700):
        for job in target.update(take(target), seconds=0.01).finished:
            if job.payload == "small":
                add(target, "small", 1)
    assert large.served_rows == 50


def test_equal_requests_finish_one_after_the_other_rather_than_all_at_the_end() -> None:
    target = scheduler(rows=8)
    for name in "abc":
        add(target, name, 16)
    target.update(take(target), seconds=0.01)
    second = target.update(take(target), seconds=0.01)
    assert [job.payload for job in second.finished] == ["a"]


def test_requests_beyond_the_quantum_take_turns() -> None:
    target = scheduler(rows=8, quantum=8)
    add(target, "a", 24)
    add(target, "b", 24)
    turns = [contents(take(target))[0][0] for _ in range(6)]
    assert turns == ["a", "b", "a", "b", "a", "b"]


def test_a_request_that_adds_rows_is_ranked_by_all_of_them() -> None:
    target = scheduler(rows=8)
    grown = add(target, "grown", 1)
    target.add(grown, [Job("key", 60, "grown")])
    add(target, "small", 8)
    assert contents(take(target)) == [("small", 0, 8)]


def test_turns_within_a_batch_make_one_slice_of_each_job() -> None:
    target = scheduler(rows=32, quantum=4)
    add(target, "a", 100)
    add(target, "b", 100)
    assert contents(take(target)) == [("a", 0, 16), ("b", 0, 16)]


def test_rows_are_shared_equally() -> None:
    target = scheduler(rows=16, quantum=4)
    one = add(target, "one", 10_000)
    other = add(target, "other", 10_000)
    for _ in range(100):
        target.update(take(target), seconds=0.01)
    assert one.served_rows == pytest.approx(800, abs=20)
    assert other.served_rows == pytest.approx(800, abs=20)


def test_rows_are_shared_between_keys() -> None:
    target = scheduler(rows=16)
    requests = [add(target, key, 10_000, key=key) for key in "xxyz"]
    for _ in range(200):
        target.update(take(target), seconds=0.01)
    assert [request.served_rows for request in requests] == pytest.approx([800] * 4, rel=0.15)


def test_filling_up_the_batches_of_others_is_not_paid_for_later() -> None:
    # "filler" gets what the batches of the small requests leave empty. Once these stop it shares
    # evenly with "other", instead of waiting until the other has had as many rows.
    target = scheduler(rows=64)
    filler = add(target, "filler", 10**6, key="x")
    other = add(target, "other", 10**6, key="y")
    for _ in range(300):
        add(target, "small", 1, key="x")
        target.update(take(target), seconds=0.01)
    before = (filler.served_rows, other.served_rows)
    for _ in range(40):
        target.update(take(target), seconds=0.01)
    assert filler.served_rows - before[0] >= 16 * 64
    assert other.served_rows - before[1] >= 16 * 64


def test_an_idle_request_saves_up_no_advantage() -> None:
    target = scheduler(rows=8, quantum=8)
    idle = add(target, "idle", 1)
    add(target, "busy", 10_000)
    for _ in range(100):
        target.update(take(target), seconds=0.01)
    target.add(idle, [Job("key", 10_000, "idle")])
    for _ in range(100):
        target.update(take(target), seconds=0.01)
    assert idle.served_rows == pytest.approx(400, abs=24)


def test_of_requests_that_came_together_the_earlier_deadline_goes_first() -> None:
    target = scheduler(rows=4)
    add(target, "never", 4)
    add(target, "late", 4, deadline=9.0)
    add(target, "soon", 4, deadline=3.0)
    assert run(target) == ["soon", "late", "never"]


def test_a_cancelled_request_is_given_nothing_more() -> None:
    target = scheduler(rows=8)
    request = add(target, "a", 20)
    add(target, "b", 4)
    first = take(target)
    assert target.cancel(request) == 20 - (first.rows - 4)
    assert target.schedule(0.0) is None
    update = target.update(first, seconds=0.01)
    assert [job.payload for job in update.finished] == ["b"]
    assert [piece.job.payload for piece in update.wasted] == ["a"]


def test_cancelling_twice_or_before_anything_was_added_does_no_harm() -> None:
    target = scheduler()
    request = add(target, "a", 20)
    assert (target.cancel(request), target.cancel(request)) == (20, 0)
    assert target.cancel(Request()) == 0
    assert target.schedule(0.0) is None


def test_a_cancelled_request_cannot_add_jobs() -> None:
    target = scheduler()
    request = Request("a")
    target.cancel(request)
    with pytest.raises(ValueError, match=r"'a'.*was cancelled"):
        target.add(request, [Job("key", 1, None)])


def test_a_job_cannot_be_added_twice() -> None:
    target = scheduler()
    job: Job[object] = Job("key", 1, None)
    target.add(Request(), [job])
    with pytest.raises(ValueError, match="added before"):
        target.add(Request(), [job])


def test_adding_no_jobs_changes_nothing() -> None:
    target = scheduler()
    target.add(Request(), [])
    assert len(target) == 0
    assert target.schedule(0.0) is None


def test_a_batch_that_ran_out_of_memory_runs_again_in_halves_before_all_others() -> None:
    target = scheduler(rows=8)
    add(target, "a", 5)
    add(target, "b", 5)
    failed = take(target)
    add(target, "c", 1)
    assert target.out_of_memory(failed)
    assert [contents(take(target)) for _ in range(3)] == [
        [("a", 0, 4)],
        [("a", 4, 5), ("b", 0, 3)],
        [("b", 3, 5), ("c", 0, 1)],
    ]


def test_a_single_row_that_runs_out_of_memory_cannot_shrink() -> None:
    target = scheduler(rows=1)
    request = add(target, "a", 2)
    assert not target.out_of_memory(take(target))
    assert target.cancel(request) == 1
    assert target.statistics().dropped_rows == 2
    assert len(target) == 0


def test_rows_of_predictions_that_ran_out_of_memory_stay_in_front() -> None:
    target = scheduler(rows=4)
    add(target, "explanation", 2)
    add(target, "prediction", 2, priority=Priority.PREDICT)
    assert target.out_of_memory(take(target))
    assert contents(take(target)) == [("prediction", 0, 2)]
    assert contents(take(target)) == [("explanation", 0, 2)]


def test_predictions_come_before_explanations_that_have_to_run_again() -> None:
    target = scheduler(rows=4)
    add(target, "explanation", 4)
    assert target.out_of_memory(take(target))
    add(target, "prediction", 1, key="forward", priority=Priority.PREDICT)
    assert contents(take(target)) == [("prediction", 0, 1)]


def test_a_failed_batch_runs_again_request_by_request() -> None:
    target = scheduler(rows=8)
    request = add(target, "a", 1, 2)
    add(target, "b", 4)
    failed = take(target)
    add(target, "c", 1)
    assert failed.requests[0] is request
    assert target.split(failed)
    again = [take(target) for _ in range(3)]
    assert [contents(batch) for batch in again] == [
        [("a", 0, 1), ("a", 0, 2)],
        [("b", 0, 4)],
        [("c", 0, 1)],
    ]
    assert [batch.isolated for batch in again] == [True, True, False]


def test_only_the_culprit_of_a_failed_batch_is_lost() -> None:
    target = scheduler(rows=16)
    for name in ("a", "bad", "c"):
        add(target, name, 4)
    finished: list[object] = []
    while (batch := target.schedule(0.0)) is not None:
        if any(piece.job.payload == "bad" for piece in batch.slices):
            if not target.split(batch):
                target.cancel(batch.requests[0])
            continue
        finished += [job.payload for job in target.update(batch, seconds=0.01).finished]
    assert finished == ["a", "c"]
    assert target.statistics().dropped_rows == 4
    assert len(target) == 0


def test_a_request_cancelled_while_its_batch_failed_does_not_run_again() -> None:
    target = scheduler(rows=8)
    request = add(target, "a", 2)
    add(target, "b", 2)
    failed = take(target)
    target.cancel(request)
    assert target.split(failed)
    assert contents(take(target)) == [("b", 0, 2)]
    assert target.schedule(0.0) is None


def test_cancelling_drops_rows_that_wait_to_run_again() -> None:
    target = scheduler(rows=8)
    requests = [add(target, "a", 2), add(target, "b", 2)]
    assert target.split(take(target))
    assert [target.cancel(request) for request in requests] == [2, 2]
    assert target.schedule(0.0) is None
    assert target.waiting_rows == 0


def test_an_expired_request_is_reported_once() -> None:
    target = scheduler(rows=1)
    soon = add(target, "soon", 3, deadline=1.0)
    late = add(target, "late", 3, deadline=2.0)
    add(target, "never", 3)
    assert target.expired(0.5) == []
    assert target.expired(1.0) == [soon]
    assert target.expired(1.5) == []
    assert target.expired(5.0) == [late]


def test_a_request_that_has_all_its_rows_does_not_expire() -> None:
    target = scheduler()
    add(target, "a", 3, deadline=1.0)
    target.update(take(target), seconds=0.01)
    assert target.expired(2.0) == []


def test_a_request_whose_deadline_passed_between_two_rounds_expires_in_the_next() -> None:
    target = scheduler()
    request = add(target, "a", 3, deadline=1.0)
    target.update(take(target), seconds=0.01)
    assert target.expired(2.0) == []
    target.add(request, [Job("key", 3, "a")])
    assert target.expired(2.0) == [request]


def test_the_time_of_the_first_batch_is_kept() -> None:
    target = scheduler(rows=2)
    request = add(target, "a", 4)
    assert request.scheduled_at is None
    take(target, now=1.5)
    take(target, now=2.5)
    assert request.scheduled_at == 1.5


def test_the_batch_sizer_learns_from_every_batch() -> None:
    target: Scheduler[object] = Scheduler(BatchSizer())
    add(target, "a", 1000)
    sizes = []
    for _ in range(6):
        batch = take(target)
        sizes.append(batch.rows)
        target.update(batch, seconds=0.002 + 1e-6 * batch.rows)
    assert sizes == [1, 2, 4, 8, 16, 32]


def test_isolated_models_get_one_row_at_a_time() -> None:
    target = scheduler(rows=1)
    add(target, "a", 2)
    add(target, "b", 1)
    sizes = []
    while (batch := target.schedule(0.0)) is not None:
        sizes.append(batch.rows)
    assert sizes == [1, 1, 1]


def test_statistics_count_every_row_once() -> None:
    target = scheduler(rows=8)
    first = add(target, "a", 4)
    second = add(target, "b", 8)
    target.update(take(target), seconds=0.01)
    running = take(target)
    add(target, "c", 5)
    target.cancel(second)
    now = target.statistics()
    assert (now.added_rows, now.evaluated_rows, now.running_rows, now.waiting_rows) == (17, 8, 4, 5)
    target.update(running, seconds=0.01)
    after = target.statistics()
    assert (after.wasted_rows, after.running_rows, after.running_batches) == (4, 0, 0)
    assert (after.batches, after.requests, len(target)) == (2, 1, 1)
    assert first.served_rows == 4


def test_a_job_needs_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Job("key", 0, None)


def test_a_quantum_needs_rows() -> None:
    with pytest.raises(ValueError, match="quantum"):
        Scheduler(BatchSizer(), quantum=0)


def test_cancelled_requests_leave_nothing_behind() -> None:
    target = scheduler(rows=8)
    add(target, "prediction", 10**6, priority=Priority.PREDICT, key="forward")
    add(target, "explanation", 1)
    for _ in range(2000):
        target.cancel(add(target, "gone", 100))
    queue = target._classes[Priority.INTERACTIVE].queue
    assert len(queue._heads) < 100
    assert sum(len(of_key.heap) for of_key in queue._keys.values()) < 100
    assert len(queue._requests) == 1


def test_an_explanation_costs_little_bookkeeping() -> None:
    # 3,000 explanations a second leave 333 us for each; this must stay a small part of it.
    # Measured: 3 to 6 us of CPU time, depending on what else runs.
    target = scheduler(rows=1024)
    names = count()
    for _ in range(32):
        add(target, str(next(names)), 52)
    finished = 0
    start = process_time()
    while finished < 2000:
        update = target.update(take(target), seconds=0.01)
        for _ in update.finished:
            add(target, str(next(names)), 52)
        finished += len(update.finished)
    assert (process_time() - start) / finished < 100e-6


def test_work_in_the_background_waits_for_everything_else() -> None:
    target = scheduler(rows=8)
    add(target, "background", 100, key="x", priority=Priority.BATCH)
    add(target, "interactive", 16, key="y")
    add(target, "prediction", 1, key="z", priority=Priority.PREDICT)
    order = [contents(take(target))[0][0] for _ in range(4)]
    assert order == ["prediction", "interactive", "interactive", "background"]


def test_work_in_the_background_fills_up_what_others_leave() -> None:
    target = scheduler(rows=8)
    add(target, "background", 100, priority=Priority.BATCH)
    add(target, "interactive", 3)
    assert contents(take(target)) == [("interactive", 0, 3), ("background", 0, 5)]


def test_a_caller_gets_no_more_for_sending_a_hundred_requests() -> None:
    target = scheduler(rows=8, quantum=8)
    for _ in range(100):
        add(target, "many", 100, caller="many")
    one = add(target, "one", 10_000, caller="one")
    for _ in range(500):
        target.update(take(target), seconds=0.01)
    assert one.served_rows == pytest.approx(2000, abs=100)


def test_the_requests_of_a_caller_share_what_it_gets() -> None:
    target = scheduler(rows=8, quantum=8)
    requests = [add(target, str(n), 10_000, caller="several") for n in range(3)]
    alone = add(target, "alone", 10_000, caller="one")
    for _ in range(600):
        target.update(take(target), seconds=0.01)
    assert alone.served_rows == pytest.approx(2400, abs=100)
    assert [request.served_rows for request in requests] == pytest.approx([800] * 3, abs=100)


def test_a_small_request_does_not_wait_for_a_large_one_of_its_own_caller() -> None:
    target = scheduler(rows=8)
    add(target, "large", 10_000, caller="a")
    for _ in range(50):
        target.update(take(target), seconds=0.01)
    add(target, "small", 1, caller="a")
    assert ("small", 0, 1) in [*contents(take(target)), *contents(take(target))]


def test_the_last_request_of_a_caller_does_not_wait_for_those_it_cancelled() -> None:
    target = scheduler(rows=8, quantum=8)
    mine = [add(target, "mine", 1000, caller="me") for _ in range(100)]
    add(target, "other", 100_000, caller="other")
    for _ in range(300):
        target.update(take(target), seconds=0.01)
    for request in mine[:-1]:
        target.cancel(request)
    before = mine[-1].served_rows
    for _ in range(20):
        target.update(take(target), seconds=0.01)
    assert mine[-1].served_rows - before == pytest.approx(80, abs=16)


def test_a_culprit_is_found_by_halves() -> None:
    target = scheduler(rows=64)
    for index in range(64):
        add(target, f"good {index}" if index != 37 else "bad", 1)
    runs, finished = 0, 0
    while (batch := target.schedule(0.0)) is not None:
        runs += 1
        if any(piece.job.payload == "bad" for piece in batch.slices):
            if not target.split(batch):
                target.cancel(batch.requests[0])
        else:
            finished += len(target.update(batch, seconds=0.01).finished)
    assert finished == 63
    assert runs == 1 + 2 * 6


def test_deadlines_of_requests_that_have_ended_are_forgotten() -> None:
    target = scheduler(rows=8)
    for _ in range(2000):
        target.cancel(add(target, "gone", 1, deadline=1e9))
    assert len(target._deadlines) < 100
