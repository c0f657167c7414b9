"""The rule of device threads: requests gather while works of their callers run."""

from collections.abc import Iterable

from adcaptum.service.handlers.joint.busy_rule import MOST_SECONDS, BusyRule


def started(now: float, callers: Iterable[str]) -> BusyRule:
    """Returns a rule with a work that has begun, for some callers."""
    one = BusyRule()
    for caller in callers:
        one.arrive(now, caller)
    one.begin(now)
    one.begun(set(callers))
    return one


def test_a_caller_who_is_alone_never_waits() -> None:
    one = BusyRule()
    for now in (0.0, 1.0, 1.001):
        one.arrive(now, "a")
        assert one.due(now) <= now
        one.begin(now)
        one.begun({"a"})
        one.ended({"a"})


def test_a_wait_ends_with_the_last_work_or_after_the_time_of_a_batch() -> None:
    one = started(0.0, "a")
    one.begun({"a"})
    one.arrive(1.0, "a")
    one.arrive(1.01, "a")
    assert one.due(1.01) == 1.0 + MOST_SECONDS
    assert not one.ended({"a"})
    assert one.due(1.01) > 1.01
    assert one.ended({"a"})
    assert one.due(1.01) <= 1.01


def test_a_caller_for_whom_nothing_runs_waits_for_nobody() -> None:
    one = started(0.0, "a")
    one.arrive(1.0, "a")
    assert one.due(1.0) > 1.0
    one.arrive(1.0, "b")
    assert one.due(1.0) <= 1.0
    one.begin(1.0)
    one.begun({"a", "b"})
    one.arrive(1.5, "b")
    assert one.due(1.5) > 1.5


def test_those_that_leave_count_no_more() -> None:
    one = started(0.0, "a")
    one.arrive(1.0, "a")
    one.leave()
    one.arrive(5.0, "a")
    assert one.due(5.0) == 5.0 + MOST_SECONDS


def test_in_a_closed_loop_all_that_came_during_a_work_are_the_next() -> None:
    """Sixteen calls at a time of one caller; a work takes 20 ms, and an answer 1 ms to be read."""
    one, sizes = BusyRule(), list[int]()
    arrivals = [0.0001 * number for number in range(16)]
    running: list[tuple[float, int]] = []
    waiting, now = 0, 0.0
    while len(sizes) < 100:
        ends = min([end for end, _ in running], default=float("inf"))
        comes = min(arrivals, default=float("inf"))
        now = min(ends, comes)
        if comes <= ends:
            arrivals.remove(comes)
            one.arrive(now, "a")
            waiting += 1
        else:
            members = running.pop(running.index(min(running)))[1]
            one.ended({"a"})
            arrivals += [now + 0.001] * members
        if waiting and one.due(now) <= now:
            one.begin(now)
            one.begun({"a"})
            sizes.append(waiting)
            running.append((now + 0.02, waiting))
            waiting = 0
    assert sum(sizes[20:]) / len(sizes[20:]) >= 7
