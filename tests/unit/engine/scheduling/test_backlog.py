from timeit import repeat

import pytest

from adcaptum.engine.scheduling.backlog import Backlog
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.cost_line import CostLine
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.ledger import Account
from adcaptum.engine.scheduling.limits import ANY, Limits
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler

LINE = CostLine(row=0.001, batch=0.01, rows=8)


def account(requests: int = 0, rows: int = 0, nbytes: int = 0) -> Account:
    made = Account()
    made.requests, made.rows, made.nbytes = requests, rows, nbytes
    return made


def scheduler(rows: int = 8) -> Scheduler[None]:
    """Batches of 8 rows, of which each takes a millisecond, and each batch ten."""
    capacity = BatchSizer(target_seconds=0.02, max_rows=rows)
    capacity.seed("key", {n: 0.001 * n + 0.01 for n in (1, 2, 4, 8)})
    return Scheduler(capacity)


@pytest.mark.parametrize(("rows", "seconds"), [(0, 0.0), (1, 0.011), (8, 0.018), (9, 0.029)])
def test_rows_take_their_batches_too(rows: int, seconds: float) -> None:
    assert LINE.seconds(rows) == pytest.approx(seconds)


def test_a_backlog_knows_its_rows_and_seconds() -> None:
    backlog = Backlog()
    backlog.add("x", 6, LINE)
    backlog.add("y", 8, CostLine(0.1, 0.0, 4))
    backlog.add("x", 6, LINE)
    backlog.remove("y", 7)
    assert backlog.rows == 13
    assert backlog.seconds == pytest.approx(0.012 + 2 * 0.01 + 0.1)


def test_what_is_learnt_of_a_key_counts_for_the_rows_that_wait() -> None:
    backlog = Backlog()
    backlog.add("x", 10, LINE)
    backlog.price("x", CostLine(0.002, 0.0, 8))
    backlog.price("unknown", LINE)
    assert backlog.seconds == pytest.approx(0.02)


def test_an_empty_backlog_takes_exactly_no_time() -> None:
    backlog = Backlog()
    for rows in (3, 1, 7):
        backlog.add("x", rows, CostLine(0.1, 1 / 3, 8))
        backlog.expect(rows, 0.1)
    for rows in (1, 3, 7):
        backlog.remove("x", rows)
        backlog.expect(-rows, -0.1)
    assert backlog.seconds == 0


@pytest.mark.parametrize(
    ("limits", "unit", "over"),
    [
        (Limits(requests=2), "requests", 1),
        (Limits(rows=12), "rows", 3),
        (Limits(nbytes=120), "bytes", 30),
    ],
    ids=["requests", "rows", "bytes"],
)
def test_what_would_be_too_much_is_told(limits: Limits, unit: str, over: int) -> None:
    excess = limits.excess(account(requests=2, rows=10, nbytes=100), 5, 50)
    assert excess is not None
    assert (excess.unit, excess.over) == (unit, over)


def test_what_fits_exactly_is_let_in() -> None:
    limits = Limits(requests=3, rows=15, nbytes=150)
    assert limits.excess(account(requests=2, rows=10, nbytes=100), 5, 50) is None
    assert ANY.excess(account(requests=10**9, rows=10**12), 10**9, 10**9) is None


def test_a_request_larger_than_the_limit_is_let_in_alone() -> None:
    assert Limits(rows=10).excess(account(), 50, 0) is None


def test_an_announced_request_counts_until_it_is_cancelled() -> None:
    target = scheduler()
    request = Request(caller="a", rows=5, seconds=0.5, nbytes=70)
    target.announce(request)
    held = target.ledger.account("a")
    assert (held.requests, held.rows, held.nbytes) == (1, 5, 70)
    assert target.ledger.seconds(Priority.INTERACTIVE) == pytest.approx(0.5)
    target.add(request, [Job("key", 5, None)])
    assert (held.requests, held.rows) == (1, 5)
    assert target.ledger.seconds(Priority.INTERACTIVE) == pytest.approx(0.015)
    batch = target.schedule(0.0)
    assert batch is not None
    target.update(batch, seconds=0.015)
    assert (held.requests, held.rows, held.nbytes) == (1, 0, 70)
    target.cancel(request)
    assert (held.requests, held.nbytes) == (0, 0)
    assert target.ledger.account("a").requests == target.ledger.total.requests == 0


def test_rows_that_are_expected_and_never_come_are_given_up_at_the_end() -> None:
    target = scheduler()
    request = Request(caller="a", rows=50, seconds=5.0)
    target.announce(request)
    target.add(request, [Job("key", 10, None)])
    assert target.ledger.backlogs[Priority.INTERACTIVE].expected_rows == 40
    assert target.ledger.account("a").rows == 50
    target.cancel(request)
    assert (
        target.ledger.total.rows == target.ledger.backlogs[Priority.INTERACTIVE].expected_rows == 0
    )
    assert target.ledger.seconds(Priority.BATCH) == 0


def test_a_request_that_adds_more_than_it_expected_counts_in_full() -> None:
    target = scheduler()
    request = Request(rows=3)
    target.announce(request)
    target.add(request, [Job("key", 10, None)])
    assert target.ledger.total.rows == 10


def test_a_request_is_announced_once() -> None:
    target = scheduler()
    request = Request()
    target.announce(request)
    with pytest.raises(ValueError, match="not new"):
        target.announce(request)


def test_a_request_that_was_not_announced_counts_while_it_has_rows() -> None:
    target = scheduler()
    target.add(Request(caller="a", nbytes=9), [Job("key", 3, None)])
    assert target.ledger.account("a").nbytes == 9
    batch = target.schedule(0.0)
    assert batch is not None
    target.update(batch, seconds=0.01)
    assert target.ledger.account("a").requests == target.ledger.total.requests == 0


def test_classes_wait_for_those_before_them() -> None:
    target = scheduler()
    for priority, rows in ((Priority.PREDICT, 1), (Priority.INTERACTIVE, 8), (Priority.BATCH, 16)):
        target.add(Request(priority=priority), [Job("key", rows, None)])
    seconds = [target.ledger.seconds(priority) for priority in Priority]
    assert seconds == pytest.approx([0.011, 0.011 + 0.018, 0.011 + 0.018 + 0.036])


def test_a_backlog_learns_from_every_batch() -> None:
    target = scheduler()
    target.add(Request(), [Job("key", 80, None)])
    before = target.ledger.seconds(Priority.INTERACTIVE)
    for _ in range(4):
        batch = target.schedule(0.0)
        assert batch is not None
        target.update(batch, seconds=10 * (0.001 * batch.rows + 0.01))
    left = target.waiting_rows / 80
    assert target.ledger.seconds(Priority.INTERACTIVE) > 4 * before * left


def test_a_refusal_costs_the_same_however_much_waits() -> None:
    limits = Limits(requests=1)

    def seconds(waiting: int) -> float:
        target = scheduler()
        for index in range(waiting):
            target.add(Request(caller=index % 10), [Job("key", 3, None)])

        def refuse() -> None:
            assert limits.excess(target.ledger.total, 1, 1) is not None
            assert limits.excess(target.ledger.account(3), 1, 1) is not None
            target.ledger.seconds(Priority.BATCH)

        return min(repeat(refuse, number=50, repeat=20))

    # Were it looked through, the long queue would cost a thousand times as much.
    assert seconds(20_000) < 10 * seconds(20)
