from adcaptum.service.front import costs
from adcaptum.service.front.costs import LEAST_SECONDS, UNKNOWN_SECONDS, Costs


def test_the_narrowest_kind_that_is_known_counts() -> None:
    known = Costs()
    assert known.expected(("a", "m")) == UNKNOWN_SECONDS
    known.learn(("a", "m"), 1.0)
    known.learn(("b", "m"), 0.001)
    assert known.expected(("a", "m")) == 1.0
    assert known.expected(("b", "m")) == 0.001
    assert 0.001 < known.expected(("c", "m")) < 1.0
    known.learn(("d",), 0.0)
    assert known.expected(("d",)) == LEAST_SECONDS


def test_later_reports_change_what_is_expected() -> None:
    known = Costs()
    known.learn(("a",), 1.0)
    for _ in range(30):
        known.learn(("a",), 3.0)
    assert 2.9 < known.expected(("a",)) <= 3.0


def test_the_longest_unused_are_forgotten() -> None:
    known = Costs()
    known.learn(("first",), 1.0)
    known.learn(("kept",), 1.0)
    for n in range(costs.MOST - 1):
        known.expected(("kept",))
        known.learn((n,), 2.0)
    assert known.expected(("first",)) == UNKNOWN_SECONDS
    assert known.expected(("kept",)) == 1.0
