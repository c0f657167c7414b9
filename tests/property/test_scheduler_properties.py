"""The scheduler's rules under random use: by a state machine, and in long seeded simulations."""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.job import Job, JobSlice
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler

WAITING, RUNNING, DONE, LOST = range(4)


@dataclass
class Record:
    """What the tests know of one job: the state of each of its rows."""

    states: list[int]
    returned: bool = False
    finished: int = 0


@dataclass
class Ledger:
    """Follows every row independently of the scheduler, and checks whatever it does."""

    scheduler: Scheduler[Record]
    requests: list[Request] = field(default_factory=list)
    jobs: dict[Request, list[Job[Record]]] = field(default_factory=dict)
    running: list[Batch[Record]] = field(default_factory=list)
    culprits: set[Request] = field(default_factory=set)

    def announce(self, request: Request) -> None:
        self.requests.append(request)
        self.jobs[request] = []
        self.scheduler.announce(request)

    def add(self, request: Request, key: str, sizes: list[int], part: int = 0) -> None:
        jobs = [Job(key, rows, Record([WAITING] * rows), part=part) for rows in sizes]
        if request not in self.jobs:
            self.requests.append(request)
            self.jobs[request] = []
        self.jobs[request] += jobs
        self.scheduler.add(request, jobs)

    def waiting(self) -> list[Job[Record]]:
        return [
            job
            for request, jobs in self.jobs.items()
            if not request.cancelled
            for job in jobs
            if WAITING in job.payload.states
        ]

    def schedule(self, now: float) -> Batch[Record] | None:
        waiting = self.waiting()
        batch = self.scheduler.schedule(now)
        if batch is None:
            assert not waiting, "nothing was given out although rows wait"
            return None
        assert batch.rows == sum(piece.stop - piece.start for piece in batch.slices)
        assert 1 <= batch.rows <= batch.capacity == self.scheduler.batch_sizer.rows(batch.key)
        assert all(piece.job.key == batch.key for piece in batch.slices)
        first = min(job.request.priority for job in waiting)
        assert batch.slices[0].job.request.priority is first
        for piece in batch.slices:
            self.give_out(piece)
        if batch.isolated:
            assert all(piece.job.payload.returned for piece in batch.slices)
        elif batch.rows < batch.capacity:
            left = [job for job in self.waiting() if job.key == batch.key]
            assert all(job.payload.returned for job in left), "the batch was not filled up"
        self.running.append(batch)
        return batch

    def give_out(self, piece: JobSlice[Record]) -> None:
        job, start, stop = piece
        states = job.payload.states
        assert not job.request.cancelled
        assert states[start:stop] == [WAITING] * (stop - start), "rows were given out twice"
        if not job.payload.returned:
            assert WAITING not in states[:start], "rows were given out of order"
            earlier = self.jobs[job.request]
            for other in earlier[: earlier.index(job)]:
                if other.key == job.key and not other.payload.returned:
                    assert WAITING not in other.payload.states, "jobs were given out of order"
        states[start:stop] = [RUNNING] * (stop - start)

    def mark(self, batch: Batch[Record], state: int) -> None:
        self.running.remove(batch)
        for job, start, stop in batch.slices:
            assert job.payload.states[start:stop] == [RUNNING] * (stop - start)
            job.payload.states[start:stop] = [state] * (stop - start)
            job.payload.returned |= state == WAITING

    def update(self, batch: Batch[Record], seconds: float) -> None:
        self.mark(batch, DONE)
        update = self.scheduler.update(batch, seconds=seconds)
        for job in update.finished:
            job.payload.finished += 1
            assert set(job.payload.states) == {DONE}
            assert not job.request.cancelled
        assert [p for p in batch.slices if p.job.request.cancelled] == update.wasted

    def out_of_memory(self, batch: Batch[Record]) -> None:
        again = self.scheduler.out_of_memory(batch)
        assert again == (batch.rows > 1)
        assert self.scheduler.batch_sizer.rows(batch.key) <= max(1, batch.rows // 2)
        self.mark(batch, WAITING if again else LOST)
        if not again:
            self.cancel(batch.requests[0])

    def split(self, batch: Batch[Record]) -> None:
        again = self.scheduler.split(batch)
        parts = {(piece.job.request, piece.job.part) for piece in batch.slices}
        assert again == (len(parts) > 1)
        self.mark(batch, WAITING if again else LOST)
        if not again:
            self.culprits.add(batch.requests[0])
            self.cancel(batch.requests[0])

    def give_up(self, request: Request, part: int) -> None:
        """Drop what waits of a part; what runs of it is evaluated."""
        expected = 0
        for job in self.jobs[request] if not request.cancelled else []:
            if job.part == part:
                expected += job.payload.states.count(WAITING)
                job.payload.states = [LOST if s == WAITING else s for s in job.payload.states]
        assert self.scheduler.give_up(request, part) == expected

    def cancel(self, request: Request) -> None:
        jobs = self.jobs[request] if not request.cancelled else []
        expected = sum(job.payload.states.count(WAITING) for job in jobs)
        assert self.scheduler.cancel(request) == expected

    def check(self) -> None:
        counts: Counter[tuple[bool, int]] = Counter()
        for request, jobs in self.jobs.items():
            for job in jobs:
                assert job.done_rows == job.payload.states.count(DONE)
                counts.update((request.cancelled, state) for state in job.payload.states)
        now = self.scheduler.statistics()
        assert now.added_rows == counts.total()
        assert now.running_rows == counts[False, RUNNING] + counts[True, RUNNING]
        assert now.waiting_rows == self.scheduler.waiting_rows == counts[False, WAITING]
        assert now.evaluated_rows + now.wasted_rows == counts[False, DONE] + counts[True, DONE]
        lost = counts[False, LOST] + counts[True, LOST]
        assert now.dropped_rows == counts[True, WAITING] + lost
        assert now.running_batches == len(self.running)
        in_flight = [r for r in self.requests if r.pending_rows and not r.cancelled]
        assert len(self.scheduler) == now.requests == len(in_flight)
        self.check_backlogs()

    def check_backlogs(self) -> None:
        """What is in flight is what the ledger knows of it, by class and by caller."""
        waiting: Counter[Priority] = Counter()
        requests: Counter[object] = Counter()
        rows: Counter[object] = Counter()
        nbytes: Counter[object] = Counter()
        expected: Counter[object] = Counter()
        for request in self.requests:
            if request.cancelled or not (request.announced or request.pending_rows):
                continue
            states = [state for job in self.jobs[request] for state in job.payload.states]
            waiting[request.priority] += states.count(WAITING)
            left = states.count(WAITING) + states.count(RUNNING) + request.expected_rows
            expected[request.priority] += request.expected_rows
            for name in {None, request.caller, request.priority}:
                requests[name] += 1
                rows[name] += left
                nbytes[name] += request.nbytes
        for name in {None, *requests, *"abc"} - set(Priority):
            account = (
                self.scheduler.ledger.total if name is None else self.scheduler.ledger.account(name)
            )
            assert (account.requests, account.rows) == (requests[name], rows[name])
            assert account.nbytes == nbytes[name]
        for priority in Priority:
            backlog = self.scheduler.ledger.backlogs[priority]
            assert backlog.rows == waiting[priority]
            assert backlog.requests == requests[priority]
            assert backlog.expected_rows == expected[priority]
            assert (backlog.seconds == 0) or backlog.rows + backlog.expected_rows > 0

    def check_queues(self) -> None:
        """No entry of a key's queue is later than its request's virtual finish time."""
        for of_class in self.scheduler._classes:
            queue = of_class.queue
            for of_key in queue._keys.values():
                valid = [entry for entry in of_key.heap if entry[3].serial == entry[2]]
                assert len(valid) == of_key.size > 0
                assert len(of_key.heap) <= 2 * of_key.size + 32
                for finish, _, _, jobs in valid:
                    assert jobs.owner is not None
                    rows = min(jobs.waiting_rows, queue.quantum)
                    now = jobs.owner.virtual_time + rows * jobs.owner.pace
                    assert finish <= now + 1e-9 * abs(now)

    def finish(self) -> None:
        """Run all that is left; then every row of every surviving job was evaluated once."""
        while self.running or self.schedule(0.0):
            self.update(self.running[0], 0.01)
        self.check()
        for request, jobs in self.jobs.items():
            if not request.cancelled:
                kept = [job for job in jobs if LOST not in job.payload.states]
                assert all(set(job.payload.states) == {DONE} for job in kept)
                assert all(job.payload.finished == 1 for job in kept)
                assert request.served_rows == sum(job.payload.states.count(DONE) for job in jobs)
                assert request.pending_rows == 0


class SchedulerMachine(RuleBasedStateMachine):
    ledger: Ledger
    now = 0.0

    @initialize(
        fixed=st.one_of(st.none(), st.sampled_from([1, 2, 5, 8, 64])),
        quantum=st.sampled_from([1, 4, 64]),
    )
    def start(self, fixed: int | None, quantum: int) -> None:
        self.ledger = Ledger(Scheduler(BatchSizer(fixed=fixed), quantum=quantum))

    @rule(
        priority=st.sampled_from(Priority),
        key=st.sampled_from("xyz"),
        sizes=st.lists(st.integers(1, 20), min_size=0, max_size=3),
        deadline=st.one_of(st.none(), st.floats(0, 20)),
        caller=st.sampled_from([None, "a", "b", "c"]),
        expected=st.one_of(st.none(), st.integers(0, 30)),
    )
    def add_request(
        self,
        *,
        priority: Priority,
        key: str,
        sizes: list[int],
        deadline: float | None,
        caller: str | None,
        expected: int | None,
    ) -> None:
        request = Request(
            priority=priority,
            deadline=deadline,
            caller=caller,
            rows=expected or 0,
            seconds=0.1 * (expected or 0),
            nbytes=1000,
        )
        if expected is not None:
            self.ledger.announce(request)
        self.ledger.add(request, key, sizes)

    @rule(
        data=st.data(), key=st.sampled_from("xyz"), rows=st.integers(1, 20), part=st.integers(0, 2)
    )
    def add_round(self, data: st.DataObject, key: str, rows: int, part: int) -> None:
        living = [request for request in self.ledger.requests if not request.cancelled]
        if living:
            self.ledger.add(data.draw(st.sampled_from(living)), key, [rows], part)

    @rule(data=st.data(), part=st.integers(0, 2))
    def give_up(self, data: st.DataObject, part: int) -> None:
        if self.ledger.requests:
            self.ledger.give_up(data.draw(st.sampled_from(self.ledger.requests)), part)

    @rule()
    def schedule(self) -> None:
        self.ledger.schedule(self.now)

    @rule(data=st.data(), end=st.sampled_from(["update"] * 4 + ["out_of_memory", "split"]))
    def end_batch(self, data: st.DataObject, end: str) -> None:
        if not self.ledger.running:
            return
        batch = data.draw(st.sampled_from(self.ledger.running))
        if end == "update":
            self.ledger.update(batch, 0.001 + 0.0005 * batch.rows)
        elif end == "split":
            self.ledger.split(batch)
        else:
            self.ledger.out_of_memory(batch)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.ledger.requests:
            self.ledger.cancel(data.draw(st.sampled_from(self.ledger.requests)))

    @rule(seconds=st.floats(0.01, 5))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        for request in self.ledger.scheduler.expired(self.now):
            assert request.deadline is not None
            assert request.deadline <= self.now
            assert request.pending_rows > 0
            self.ledger.cancel(request)
        assert self.ledger.scheduler.expired(self.now) == []

    @invariant()
    def totals_add_up(self) -> None:
        self.ledger.check()
        self.ledger.check_queues()

    def teardown(self) -> None:
        if "ledger" in vars(self):
            self.ledger.finish()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def evaluate(
    ledger: Ledger,
    batch: Batch[Record],
    memory: int,
    poisoned: set[Request],
    rng: random.Random,
) -> float:
    """What a device with room for `memory` rows does with a batch; returns the seconds it takes."""
    seconds = (0.002 + 0.0005 * batch.rows) * rng.lognormvariate(0, 0.2)
    if batch.rows > memory:
        ledger.out_of_memory(batch)
    elif poisoned & set(batch.requests):
        ledger.split(batch)
    else:
        ledger.update(batch, seconds)
    return seconds


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_steps_lose_no_row(seed: int) -> None:
    """Several devices, little memory, noisy times, failing and vanishing requests."""
    rng = random.Random(seed)
    devices = rng.choice([1, 2, 4])
    memory = rng.choice([3, 20, 100])
    ledger = Ledger(Scheduler(BatchSizer(), quantum=rng.choice([4, 64])))
    poisoned: set[Request] = set()
    living: list[Request] = []
    now = 0.0
    for step in range(1500):
        living = [request for request in living if not request.cancelled][-40:]
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            request = Request(
                priority=rng.choice(list(Priority)),
                deadline=now + 2 * rng.random() if rng.random() < 0.2 else None,
            )
            if rng.random() < 0.02:
                poisoned.add(request)
            ledger.add(request, rng.choice("xy"), [rng.randint(1, 30)])
            living.append(request)
        if living and rng.random() < 0.3:
            ledger.add(rng.choice(living), rng.choice("xy"), [rng.randint(1, 10)])
        if living and rng.random() < 0.02:
            ledger.cancel(living.pop(rng.randrange(len(living))))
        for request in ledger.scheduler.expired(now):
            ledger.cancel(request)
        while len(ledger.running) < devices and ledger.schedule(now):
            pass
        if ledger.running:
            seconds = evaluate(ledger, rng.choice(ledger.running), memory, poisoned, rng)
            now += seconds / devices
        if step % 50 == 0:
            ledger.check()
    for request in poisoned:
        ledger.cancel(request)
    ledger.finish()
    assert ledger.culprits <= poisoned
    assert ledger.culprits


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.sampled_from([1, 4, 16, 64, 256]),
    quantum=st.sampled_from([1, 8, 64]),
    keys=st.integers(1, 5),
    crowd=st.sampled_from([2, 5, 20, 60]),
    callers=st.sampled_from([0, 1, 3, 20]),
)
def test_nobody_starves(
    *,
    seed: int,
    capacity: int,
    quantum: int,
    keys: int,
    crowd: int,
    callers: int,
) -> None:
    """Rule 6 of `fair_queue`, in an overloaded system: whoever is done is replaced at once.

    Some callers go away with all they have asked for, which makes room for the others.
    """
    rng = random.Random(seed)
    limits = [capacity] + [rng.choice([capacity, 1, max(1, capacity // 4)]) for _ in range(keys)]
    scheduler: Scheduler[None] = Scheduler(
        BatchSizer(fixed=capacity, max_rows=lambda key: limits[hash(key)]),
        quantum=quantum,
    )
    arrived_at: dict[Request, int] = {}
    largest: dict[Request, list[int]] = {}
    given_out = 0

    def count() -> None:
        """Rule 6's C and S, at their largest since each request came."""
        loads = Counter(r if r.caller is None else r.caller for r in arrived_at)
        for request in arrived_at:
            load = loads[request if request.caller is None else request.caller]
            most = largest.setdefault(request, [0, 0])
            most[:] = [max(most[0], len(loads)), max(most[1], load)]

    for _ in range(400):
        while len(arrived_at) < crowd and rng.random() < 0.95:
            sizes = [1, 1, 2, rng.randint(1, 3 * quantum), rng.randint(1, 20 * capacity)]
            caller = rng.randrange(callers) if callers and rng.random() < 0.8 else None
            request = Request(caller=caller)
            scheduler.add(request, [Job(rng.randrange(keys), rng.choice(sizes), None)])
            arrived_at[request] = given_out
            count()
        if callers and rng.random() < 0.02:
            gone = rng.randrange(callers)
            for request in [r for r in arrived_at if r.caller == gone][1:]:
                scheduler.cancel(request)
                del arrived_at[request]
        batch = scheduler.schedule(0.0)
        if batch is None:
            continue
        given_out += batch.rows
        for job, _, stop in batch.slices:
            if stop == job.rows and job.request in arrived_at:
                request = job.request
                waited = given_out - arrived_at.pop(request)
                total, load = largest[request]
                ahead = capacity if load > 1 else 0
                bound = total * (load * job.rows + ahead) + crowd * (quantum + capacity)
                assert waited <= bound * (1 + 1e-9)
        scheduler.update(batch, seconds=0.01)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.sampled_from([1, 8, 64, 256]),
    quantum=st.sampled_from([8, 64]),
    crowds=st.lists(st.sampled_from([1, 2, 10, 100]), min_size=2, max_size=5),
    keys=st.integers(1, 3),
    sizes=st.sampled_from([[1], [1, 40], [1000], [1, 200, 5000]]),
)
def test_callers_have_equal_shares_however_many_requests_they_send(
    *, seed: int, capacity: int, quantum: int, crowds: list[int], keys: int, sizes: list[int]
) -> None:
    """Callers who always have work in every lane get the same, but for some quanta and batches."""
    rng = random.Random(seed)
    scheduler: Scheduler[None] = Scheduler(BatchSizer(fixed=capacity), quantum=quantum)
    served = dict.fromkeys(range(len(crowds)), 0)
    requests = dict.fromkeys(range(len(crowds)), 0)
    waiting = {(caller, key): 0 for caller in range(len(crowds)) for key in range(keys)}
    most = 0
    for _ in range(600):
        for (caller, key), rows in waiting.items():
            left = rows
            while requests[caller] < crowds[caller] or left < capacity:
                job = Job(key, rng.choice(sizes), None)
                scheduler.add(Request(caller=caller), [job])
                requests[caller] += 1
                left += job.rows
            waiting[caller, key] = left
        most = max(most, *requests.values())
        batch = scheduler.schedule(0.0)
        assert batch is not None
        for job, start, stop in batch.slices:
            served[hash(job.request.caller)] += stop - start
            waiting[hash(job.request.caller), hash(job.key)] -= stop - start
        for job in scheduler.update(batch, seconds=0.01).finished:
            requests[hash(job.request.caller)] -= 1
    fair = sum(served.values()) / len(crowds)
    slack = len(crowds) * (most * quantum + 2 * capacity)
    assert all(abs(rows - fair) <= 0.02 * fair * len(crowds) + slack for rows in served.values())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.sampled_from([4, 64, 256]),
    crowd=st.integers(1, 30),
)
def test_a_single_row_is_in_one_of_the_next_batches_however_large_the_others_are(
    seed: int, capacity: int, crowd: int
) -> None:
    rng = random.Random(seed)
    scheduler: Scheduler[None] = Scheduler(BatchSizer(fixed=capacity))
    for _ in range(crowd):
        scheduler.add(Request(), [Job("key", rng.randint(20_000, 30_000), None)])
    for _ in range(rng.randrange(60)):
        batch = scheduler.schedule(0.0)
        assert batch is not None
        scheduler.update(batch, seconds=0.01)
    small = Request()
    scheduler.add(small, [Job("key", 1, None)])
    for _ in range(2):
        batch = scheduler.schedule(0.0)
        assert batch is not None
        scheduler.update(batch, seconds=0.01)
    assert small.served_rows == 1
