"""Quotas of callers."""

import pytest

from adcaptum.engine.scheduling.limits import Limits
from adcaptum.service.errors import Reason, TooBusy
from adcaptum.service.runtime import caller_rows
from adcaptum.service.runtime.caller_rows import CallerRows
from adcaptum.service.security import quotas
from adcaptum.service.security.api_keys import new_key
from adcaptum.service.security.identity import Quota
from adcaptum.service.security.quotas import BURST_SECONDS, Quotas
from tests.unit.service.security.visiting import OURS, counted, guard_of, visit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quotas, "monotonic", clock)
    return clock


def test_a_debt_is_paid_by_waiting(clock: Clock) -> None:
    accounts, quota = Quotas(), Quota(row_seconds=0.5)
    accounts.admit("a", quota)
    # Ten seconds' worth may be saved: 5; this takes 7.
    accounts.charge("a", quota, 0.5 * BURST_SECONDS + 2)
    with pytest.raises(TooBusy, match=r"quota of 0\.5 row-seconds") as refused:
        accounts.admit("a", quota)
    assert refused.value.reason is Reason.QUOTA
    assert refused.value.limit == "caller_row_seconds"
    assert refused.value.retry_s == pytest.approx(4)
    accounts.admit("b", quota)
    clock.now += 3.9
    with pytest.raises(TooBusy):
        accounts.admit("a", quota)
    clock.now += 0.2
    accounts.admit("a", quota)


def test_no_more_is_saved_than_ten_seconds_worth(clock: Clock) -> None:
    accounts, quota = Quotas(), Quota(row_seconds=1.0)
    accounts.charge("a", quota, 1.0)
    clock.now += 10_000
    accounts.charge("a", quota, BURST_SECONDS - 0.01)
    accounts.admit("a", quota)
    accounts.charge("a", quota, 0.02)
    with pytest.raises(TooBusy):
        accounts.admit("a", quota)


def test_each_front_gives_its_share(clock: Clock) -> None:
    accounts, quota = Quotas(1 / 4), Quota(row_seconds=1.0)
    accounts.charge("a", quota, BURST_SECONDS / 4 + 1)
    with pytest.raises(TooBusy) as refused:
        accounts.admit("a", quota)
    assert refused.value.retry_s == pytest.approx(4)


def test_accounts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MOST_CALLERS", 3)
    accounts, quota = Quotas(), Quota(row_seconds=1.0)
    for caller in "abcde":
        accounts.charge(caller, quota, 100.0)
    assert [*accounts._accounts] == ["c", "d", "e"]


def test_answers_are_charged_to_their_caller(clock: Clock) -> None:
    made = new_key()
    guard, registry = guard_of(
        f"[keys]\na = {{ key = '{made.stored}', roles = ['predict'], row_seconds = 0.1, "
        "max_rows = 7, proxy = true }"
    )
    visitor = visit(guard, f"Bearer {made.key}", caller="alice")
    assert visitor.most_rows == 7
    visitor.leave(3.0)
    with pytest.raises(TooBusy):
        visit(guard, f"Bearer {made.key}", caller="alice")
    assert counted(registry, "over_quota_total") == 1
    # Whom a proxy names has an account of its own; descriptions cost nothing.
    visit(guard, f"Bearer {made.key}", caller="bob")
    visit(guard, f"Bearer {made.key}", OURS + "GetModel", caller="alice")


def test_rows_under_way_of_single_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_rows, "MOST_CALLERS", 2)
    rows = CallerRows()
    usual = Limits(requests=3, rows=50)
    for caller, most in (("a", 1), ("b", 10), ("c", 100)):
        rows.note(caller, most)
    assert rows.limits("a", usual) == usual  # forgotten, until its next request
    assert rows.limits("b", usual) == Limits(requests=3, rows=10)
    assert rows.limits("c", usual) == usual
    assert rows.limits("b", Limits()) == Limits(rows=10)
