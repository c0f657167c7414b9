"""A hundred thousand random arrivals, with cancellations, deadlines and failures.

The simulation follows every row by itself and checks the scheduler's rules after each step, at a
cost that does not grow with what waits.
"""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.limits import Limits
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler

WAITING, RUNNING, DONE, LOST = b"w", b"r", b"d", b"l"
QUANTUM = 32
MOST_ROWS = 256
MOST_REQUESTS = 300
LIMITS = Limits(requests=MOST_REQUESTS, rows=30_000, nbytes=3_000_000)
CALLER_LIMITS = Limits(requests=60, rows=10_000)
KEYS = ("x", "y", "z")
TRUTH = {"x": (20e-6, 300e-6), "y": (200e-6, 1e-3), "z": (50e-6, 5e-3)}  # seconds: a row, a batch


class Highest:
    """The largest of some numbers since any of their moments, in logarithmic time."""

    def __init__(self) -> None:
        self._moments: list[int] = []
        self._values: list[float] = []

    def record(self, moment: int, value: float) -> None:
        while self._values and self._values[-1] <= value:
            self._values.pop()
            self._moments.pop()
        self._values.append(value)
        self._moments.append(moment)

    def since(self, moment: int) -> float:
        # What held at a moment was recorded at it or before; it may have been overtaken since.
        index = bisect_left(self._moments, moment)
        before = self._values[index - 1] if index else 0.0
        return max(before, self._values[index] if index < len(self._values) else 0.0)

    @property
    def last(self) -> float:
        return self._values[-1] if self._values else 0.0


@dataclass(eq=False)
class Rows:
    """What the simulation knows of one job."""

    states: bytearray
    rounds: int
    returned: bool = False
    came: int = 0
    given_before: int = 0
    finished: bool = False


@dataclass
class ClassView:
    """What the simulation knows of one class: who waits, and what was given out.

    `given` counts rows of batches that the class led, and that had not run before.
    """

    waiting_rows: int = 0
    given: int = 0
    rows_of: Counter[Request] = field(default_factory=Counter)
    loads: dict[object, int] = field(default_factory=dict)
    requests: Highest = field(default_factory=Highest)
    callers: Highest = field(default_factory=Highest)
    load: dict[object, Highest] = field(default_factory=dict)


EngineJob = Job[Rows]


class Simulation:
    """Requests, devices and the scheduler between them, on a clock of their own."""

    def __init__(self, seed: int, *, devices: int) -> None:
        self.rng = random.Random(seed)
        self.batch_sizer = BatchSizer(target_seconds=0.025, max_rows=MOST_ROWS)
        self.scheduler: Scheduler[Rows] = Scheduler(self.batch_sizer, quantum=QUANTUM)
        self.now = 0.0
        self.moment = 0
        self.devices = devices
        self.memory = dict.fromkeys(TRUTH, MOST_ROWS)
        self.ends: list[tuple[float, int, Batch[Rows]]] = []
        self.living: list[Request] = []
        self.index: dict[Request, int] = {}
        self.jobs: dict[Request, list[EngineJob]] = {}
        self.views = {priority: ClassView() for priority in Priority}
        self.fresh: Counter[Hashable] = Counter()
        self.poisoned: set[Request] = set()
        self.huge: set[Request] = set()
        self.added = self.running = self.done = self.dropped = self.wasted = 0
        self.looked_at = 0.0
        self.outcomes: Counter[str] = Counter()

    def arrive(self) -> None:
        rng = self.rng
        rows = rng.choice((1, 1, 1, 2, 5, 12, 50, 50, rng.randint(1, 600)))
        caller = rng.choice((None, "a", "a", "a", "b", "b", "c", rng.randrange(50)))
        nbytes = rng.randint(100, 20_000)
        account = self.scheduler.ledger.account(caller)
        if LIMITS.excess(self.scheduler.ledger.total, rows, nbytes) or (
            caller is not None and CALLER_LIMITS.excess(account, rows, nbytes)
        ):
            self.outcomes["refused"] += 1
            return
        request = Request(
            priority=rng.choice((Priority.PREDICT, *Priority, Priority.INTERACTIVE)),
            caller=caller,
            deadline=self.now + rng.expovariate(0.5) if rng.random() < 0.3 else None,
            rows=rng.choice((0, rows, 2 * rows)),
            seconds=0.001,
            nbytes=nbytes,
        )
        chance = rng.random()
        if chance < 0.003:
            self.poisoned.add(request)
        elif chance < 0.004:
            self.huge.add(request)
        self.index[request] = len(self.living)
        self.living.append(request)
        self.jobs[request] = []
        self.scheduler.announce(request)
        self.send(request, rows, rounds=rng.choice((0, 0, 1, 2)))

    def send(self, request: Request, rows: int, rounds: int) -> None:
        """A request adds the jobs of a round."""
        view = self.views[request.priority]
        parts = (rows,) if rows < 10 or self.rng.random() < 0.7 else (rows // 2, rows - rows // 2)
        jobs = []
        for part in parts:
            about = Rows(bytearray(WAITING * part), rounds, came=self.moment)
            about.given_before = view.given
            jobs.append(Job(self.rng.choice("xxyz"), part, about))
            self.fresh[jobs[-1].key] += part
        self.jobs[request] += jobs
        self.added += rows
        self.wait(request, rows)
        self.scheduler.add(request, jobs)

    def leave(self, request: Request, outcome: str) -> None:
        """A request ends, whatever it still has in the scheduler."""
        waiting = sum(job.payload.states.count(WAITING) for job in self.jobs[request])
        running = sum(job.payload.states.count(RUNNING) for job in self.jobs[request])
        for job in self.jobs[request]:
            if not job.payload.returned:
                self.fresh[job.key] -= job.payload.states.count(WAITING)
        assert self.scheduler.cancel(request) == waiting
        self.wait(request, -waiting)
        self.dropped += waiting
        assert request.pending_rows == running
        self.outcomes[outcome] += 1
        # The last one takes its place in the list.
        place, last = self.index.pop(request), self.living.pop()
        if last is not request:
            self.living[place] = last
            self.index[last] = place
        if not running:
            del self.jobs[request]

    def wait(self, request: Request, rows: int) -> None:
        """Counts waiting rows of a request, and who waits, in its class."""
        view = self.views[request.priority]
        view.waiting_rows += rows
        before = view.rows_of[request]
        view.rows_of[request] += rows
        change = (view.rows_of[request] > 0) - (before > 0)
        if not view.rows_of[request]:
            del view.rows_of[request]
        if not change:
            return
        view.requests.record(self.moment, len(view.rows_of))
        caller = request if request.caller is None else request.caller
        load = view.loads.get(caller, 0) + change
        view.loads[caller] = load
        if not load:
            del view.loads[caller]
        view.callers.record(self.moment, len(view.loads))
        if request.caller is not None:
            view.load.setdefault(caller, Highest()).record(self.moment, load)

    def schedule(self) -> bool:
        """Has a device begin a batch, if anything waits; checks what it is given."""
        expected = next((p for p in Priority if self.views[p].waiting_rows), None)
        batch = self.scheduler.schedule(self.now)
        if batch is None:
            assert expected is None, "nothing was given out although rows wait"
            return False
        first = batch.slices[0].job
        assert first.request.priority is expected, "a class before it waits"
        assert 1 <= batch.rows <= batch.capacity <= MOST_ROWS
        leads = not first.payload.returned
        rows = 0
        for job, start, stop in batch.slices:
            about = job.payload
            assert job.key == batch.key
            assert job.request in self.index, "the request has ended"
            assert about.states[start:stop] == WAITING * (stop - start), "rows run twice"
            about.states[start:stop] = RUNNING * (stop - start)
            rows += stop - start
            self.wait(job.request, start - stop)
            if not about.returned:
                self.fresh[batch.key] -= stop - start
                if leads and job.request.priority is expected:
                    self.views[job.request.priority].given += stop - start
        assert rows == batch.rows
        self.running += rows
        for job, _, stop in batch.slices:
            if stop == job.rows and not job.payload.returned:
                self.check_wait(job)
        if not batch.isolated and rows < batch.capacity:
            assert not self.fresh[batch.key], "the batch was not filled up"
        row, overhead = TRUTH[str(batch.key)]
        seconds = (row * rows + overhead) * self.rng.lognormvariate(0, 0.1)
        heappush(self.ends, (self.now + seconds, batch.sequence, batch))
        return True

    def check_wait(self, job: EngineJob) -> None:
        """Rule 6 of `fair_queue`, for the rows of one job (and those that its request had)."""
        request, about = job.request, job.payload
        view = self.views[request.priority]
        came = min([other.payload.came for other in self.jobs[request][-2:]])
        rows = sum([other.rows for other in self.jobs[request]])
        load = 1.0 if request.caller is None else view.load[request.caller].since(came)
        ahead = MOST_ROWS if load > 1 else 0
        crowd = view.requests.since(came)
        bound = view.callers.since(came) * (load * rows + ahead) + crowd * (QUANTUM + MOST_ROWS)
        assert view.given - about.given_before <= bound * (1 + 1e-9), "somebody starves"

    def end(self) -> None:
        """The next batch ends, in one way or another."""
        self.now, _, batch = heappop(self.ends)
        requests = batch.requests
        self.running -= batch.rows
        memory = 0 if self.huge.intersection(requests) else self.memory[str(batch.key)]
        if batch.rows > memory:
            again = self.scheduler.out_of_memory(batch)
            assert again == (batch.rows > 1)
            assert self.batch_sizer.rows(batch.key) <= max(1, batch.rows // 2)
            self.failed(batch, "out of memory", again=again)
        elif self.poisoned.intersection(requests):
            again = self.scheduler.split(batch)
            assert again == (len(requests) > 1)
            self.failed(batch, "raised", again=again)
        else:
            row, overhead = TRUTH[str(batch.key)]
            self.evaluated(batch, row * batch.rows + overhead)

    def failed(self, batch: Batch[Rows], outcome: str, *, again: bool) -> None:
        for job, start, stop in batch.slices:
            gone = job.request not in self.index
            self.dropped += (stop - start) * (gone or not again)
            if gone:
                self.forget(job)
                continue
            about = job.payload
            if not about.returned:
                self.fresh[job.key] -= about.states.count(WAITING)
            about.returned = True
            about.states[start:stop] = (WAITING if again else LOST) * (stop - start)
            if again:
                self.wait(job.request, stop - start)
        culprit = batch.requests[0]
        if not again and culprit in self.index:
            assert culprit in self.poisoned or culprit in self.huge
            self.leave(culprit, outcome)

    def evaluated(self, batch: Batch[Rows], seconds: float) -> None:
        update = self.scheduler.update(batch, seconds=seconds)
        wasted = []
        for piece in batch.slices:
            job, start, stop = piece
            about = job.payload
            if job.request not in self.index:
                wasted.append(piece)
                self.wasted += stop - start
                self.forget(job)
                continue
            assert about.states[start:stop] == RUNNING * (stop - start)
            about.states[start:stop] = DONE * (stop - start)
            self.done += stop - start
        assert update.wasted == wasted
        for job in update.finished:
            about, request = job.payload, job.request
            assert not about.finished
            assert about.states.count(DONE) == job.rows
            about.finished = True
            deadline = request.deadline
            assert deadline is None or deadline > self.looked_at, "it was due, and not reported"
            if all(other.payload.finished for other in self.jobs[request]):
                if about.rounds:
                    self.send(request, self.rng.randint(1, 60), about.rounds - 1)
                else:
                    total = sum(other.rows for other in self.jobs[request])
                    assert request.served_rows == total
                    self.leave(request, "answered")

    def forget(self, job: EngineJob) -> None:
        """Rows of a request that had ended are not running any more."""
        if not job.request.pending_rows:
            self.jobs.pop(job.request, None)

    def check(self) -> None:
        now = self.scheduler.statistics()
        assert now.added_rows == self.added
        assert now.running_rows == self.running
        assert now.evaluated_rows == self.done
        assert now.wasted_rows == self.wasted
        assert now.dropped_rows == self.dropped
        waiting = sum([view.waiting_rows for view in self.views.values()])
        assert now.waiting_rows == waiting
        assert self.added == self.done + self.wasted + self.dropped + waiting + self.running
        assert now.running_batches == len(self.ends)
        assert now.requests <= self.scheduler.ledger.total.requests == len(self.living)
        for priority, view in self.views.items():
            assert self.scheduler.ledger.backlogs[priority].rows == view.waiting_rows

    def check_memory(self) -> None:
        """What is kept grows with what waits, not with what has passed."""
        scheduler = self.scheduler
        assert len(scheduler._deadlines) <= 2 * MOST_REQUESTS + 33
        assert len(scheduler.ledger) <= len(self.living)
        for of_class in scheduler._classes:
            queue = of_class.queue
            assert len(queue._keys) <= len(TRUTH)
            assert len(queue._heads) <= 4 * len(TRUTH) + 33
            assert len(queue._callers) <= len(queue._requests) <= len(self.living)
            for of_key in queue._keys.values():
                assert len(of_key.heap) <= 2 * of_key.size + 33

    def step(self) -> None:
        """Something happens, and the rules are checked."""
        rng = self.rng
        self.moment += 1
        chance = rng.random()
        if chance < 0.02 and self.living:
            self.leave(self.living[rng.randrange(len(self.living))], "cancelled")
        elif chance < 0.021:
            self.memory[rng.choice(KEYS)] = rng.choice((20, 90, MOST_ROWS, MOST_ROWS))
        self.looked_at = self.now
        for request in self.scheduler.expired(self.now):
            assert request.deadline is not None
            assert request.deadline <= self.now
            self.leave(request, "expired")
        while len(self.ends) < self.devices and self.schedule():
            pass
        self.check()
        self.check_memory()


def test_a_hundred_thousand_arrivals_break_no_rule() -> None:
    """10 to 18 s of one core, depending on what else runs."""
    simulation = Simulation(1, devices=2)
    rng = simulation.rng
    following = 0.0
    for _ in range(100_000):
        # Now there is too much to do, and now too little.
        following += rng.expovariate(1.0) * (0.0027 if simulation.now % 20 < 14 else 0.012)
        while simulation.ends and simulation.ends[0][0] <= following:
            simulation.end()
            simulation.step()
        simulation.now = following
        simulation.arrive()
        simulation.step()
    while simulation.ends:
        simulation.end()
        simulation.step()
    assert not simulation.living
    assert not simulation.jobs
    assert simulation.scheduler.ledger.total.requests == simulation.scheduler.ledger.total.rows == 0
    assert all(simulation.scheduler.ledger.seconds(priority) == 0 for priority in Priority)
    # Enough of everything happened.
    assert simulation.outcomes["answered"] > 50_000
    rare = ("refused", "cancelled", "expired", "raised", "out of memory")
    assert min(simulation.outcomes[outcome] for outcome in rare) > 50
