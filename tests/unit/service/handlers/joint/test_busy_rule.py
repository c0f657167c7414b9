"""The rule of device threads: requests gather while works of their callers run."""

from collections.abc import Sequence

from adcaptum.service.handlers.joint.busy_rule import MOST_SECONDS, BusyRule


def rule(enough: int = 1) -> BusyRule:
    return BusyRule(lambda: enough)


def start(one: BusyRule, now: float, callers: Sequence[str]) -> None:
    one.begin(now)
    one.begun(set(callers))


def test_nobody_waits_while_the_device_has_too_little_to_do() -> None:
    one = rule(enough=2)
    for now in (0.0, 1.0):
        one.arrive(now, "a")
        assert one.due(now) <= now
        start(one, now, "a")
    one.arrive(2.0, "a")
    assert one.due(2.0) > 2.0


def test_a_wait_ends_with_a_work_or_after_the_time_of_a_batch() -> None:
    one = rule()
    one.arrive(0.0, "a")
    start(one, 0.0, "a")
    one.arrive(1.0, "a")
    one.arrive(1.01, "a")
    assert one.due(1.01) == 1.0 + MOST_SECONDS
    assert one.ended({"a"})
    assert one.due(1.01) <= 1.01


def test_a_caller_for_whom_nothing_runs_waits_for_nobody() -> None:
    one = rule()
    one.arrive(0.0, "a")
    start(one, 0.0, "a")
    one.arrive(1.0, "a")
    assert one.due(1.0) > 1.0
    one.arrive(1.0, "b")
    assert one.due(1.0) <= 1.0
    start(one, 1.0, "ab")
    one.arrive(1.5, "b")
    assert one.due(1.5) > 1.5


def test_those_that_leave_count_no_more() -> None:
    one = rule()
    one.arrive(0.0, "a")
    start(one, 0.0, "a")
    one.arrive(1.0, "a")
    one.leave()
    one.arrive(5.0, "a")
    assert one.due(5.0) == 5.0 + MOST_SECONDS


def test_a_closed_loop_is_two_halves_that_take_turns() -> None:
    """Sixteen callers of one address, whose works take 20 ms: none waits for more than one."""
    one, enough, seconds = rule(enough=2), 2, 0.02
    running: list[tuple[float, int]] = []
    waiting, sizes, now = 0, list[int](), 0.0
    for _ in range(16):
        one.arrive(now, "a")
        waiting += 1
        if one.due(now) <= now:
            start(one, now, "a")
            running.append((now + seconds, waiting))
            waiting = 0
    assert len(running) == enough
    for _ in range(200):
        running.sort()
        now, members = running.pop(0)
        one.ended({"a"})
        for _ in range(members):
            one.arrive(now, "a")
            waiting += 1
        if waiting and one.due(now) <= now:
            sizes.append(waiting)
            start(one, now, "a")
            running.append((max(now, running[-1][0] if running else now) + seconds, waiting))
            waiting = 0
    assert sum(sizes[50:]) / len(sizes[50:]) >= 4
