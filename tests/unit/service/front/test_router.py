from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adcaptum.service.errors import DeadlineExceeded, Reason, Unavailable
from adcaptum.service.front.costs import UNKNOWN_SECONDS
from adcaptum.service.front.router import SHARE, Asked, Router, bounded, key_of
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.worker_process import WorkerProcess


def process(worker: int, **facts: Any) -> WorkerProcess:
    known: dict[str, Any] = {
        "ready": True,
        "prompt": True,
        "listening": True,
        "stopping": False,
        "outstanding": 0,
        "outstanding_seconds": 0.0,
    }
    known.update(facts)
    models = known.pop("models", ())
    known.setdefault("serving", {"m"} if known["ready"] else set())
    made = SimpleNamespace(seat=SimpleNamespace(worker=str(worker)), models=models, **known)
    # Processes are told apart by identity, and namespaces by their contents.
    return cast("WorkerProcess", _Apart(made.__dict__))


class _Apart:
    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)


def router(*processes: WorkerProcess | None, wait: float = 0.0) -> Router:
    return Router([slot(each) for each in processes], wait)


def slot(process: WorkerProcess | None, *models: str) -> Slot:
    return cast("Slot", SimpleNamespace(process=process, models=models))


def asked(key: int = 1, model: str = "m", *, shares: bool = False) -> Asked:
    return Asked(model, key, (model,), shares)


def test_equal_requests_go_to_one_worker_and_others_to_all() -> None:
    processes = [process(index) for index in range(4)]
    keys = [key_of(str(n).encode()) for n in range(400)]
    chosen = [bounded(processes, key, 1.0).seat.worker for key in keys]
    again = [bounded(processes[::-1], key, 1.0).seat.worker for key in keys]
    assert chosen == again
    assert min(Counter(chosen).values()) > 60
    assert len(Counter(chosen)) == 4


def test_most_requests_keep_their_worker_when_one_is_lost() -> None:
    processes = [process(index) for index in range(4)]
    keys = [key_of(str(n).encode()) for n in range(200)]
    for key in keys:
        before = bounded(processes, key, 1.0)
        if before.seat.worker != "3":
            assert bounded(processes[:3], key, 1.0) is before


def test_no_worker_has_more_than_its_share_of_the_seconds() -> None:
    processes = [process(index) for index in range(4)]
    for n in range(200):
        seconds = 1.0 if n % 10 == 0 else 0.001
        chosen = bounded(processes, 7, seconds)
        chosen.outstanding += 1
        chosen.outstanding_seconds += seconds
    loads = [each.outstanding_seconds for each in processes]
    assert max(loads) <= SHARE * sum(loads) / 4 + 1.0
    assert min(loads) > 1.0


def test_no_worker_idles_while_another_has_a_queue() -> None:
    processes = [process(0, outstanding=1, outstanding_seconds=0.001), process(1)]
    for key in range(50):
        assert bounded(processes, key, 1.0) is processes[1]


async def test_equal_requests_meet_where_one_is_under_way_or_its_answer_kept() -> None:
    one, other = process(0), process(1)
    made = router(one, other)
    first = await made.choose(asked(5, shares=True), None)
    with made.sent(first, asked(5, shares=True)) as trip:
        assert await made.choose(asked(5, shares=True), None) is first
        # One that has to be computed anyway goes where nothing waits.
        assert await made.choose(asked(5), None) is not first
        trip.seconds = 0.25
    with made.sent(first, asked(6)):
        assert await made.choose(asked(5, shares=True), None) is first


async def test_a_worker_that_does_not_keep_an_answer_is_not_its_home() -> None:
    one, other = process(0), process(1)
    made = router(one, other)
    first = await made.choose(asked(5, shares=True), None)
    for _ in range(2):
        with made.sent(first, asked(5, shares=True)) as trip:
            trip.seconds = 0.25
    with made.sent(first, asked(6)):
        assert await made.choose(asked(5, shares=True), None) is not first


async def test_the_seconds_of_requests_are_those_that_such_requests_took() -> None:
    one = process(0)
    made = router(one)
    with made.sent(one, asked()) as trip:
        assert one.outstanding_seconds == UNKNOWN_SECONDS
        trip.seconds = 2.0
    assert (one.outstanding, one.outstanding_seconds) == (0, 0.0)
    with made.sent(one, asked()):
        assert one.outstanding_seconds == 2.0


async def test_a_worker_that_serves_the_model_is_preferred_and_a_lost_one_avoided() -> None:
    one, other = process(0), process(1)
    without = process(2, serving={"n"})
    loading = process(3, ready=False)
    for key in range(20):
        assert await router(one, without, loading).choose(asked(key), None) is one
        assert await router(one, other).choose(asked(key), None, [one]) is other
        assert await router(one, None).choose(asked(key), None, [one]) is one


async def test_a_worker_that_does_not_answer_gets_no_more_where_another_does() -> None:
    stopped, other = process(0, prompt=False), process(1)
    for key in range(20):
        assert await router(stopped, other).choose(asked(key), None) is other
        assert await router(stopped).choose(asked(key), None) is stopped


async def test_before_any_has_served_one_that_loads_answers() -> None:
    loading = process(0, ready=False)
    assert await router(loading).choose(asked(), None) is loading


async def test_later_a_request_waits_for_one_that_serves() -> None:
    worker = process(0)
    made = router(worker, wait=0.0)
    assert await made.choose(asked(), None) is worker
    worker.listening = False
    with pytest.raises(Unavailable) as caught:
        await made.choose(asked(), None)
    assert caught.value.reason is Reason.WORKER_LOST
    with pytest.raises(DeadlineExceeded):
        await router(worker, wait=60).choose(asked(), 0.0)


async def test_a_model_that_ended_a_worker_has_one_worker_and_never_the_last() -> None:
    one, other, third = process(0), process(1), process(2, ready=False)
    slots = [slot(each) for each in (one, other, third)]
    made = Router(slots, 0.0, lambda model: model == "m")
    for key in range(20):
        assert await made.choose(asked(key), None) is one
    innocent = {(await made.choose(asked(key, "n"), None)).seat.worker for key in range(20)}
    assert innocent == {"0", "1"}
    other.ready = False
    assert await made.choose(asked(1, "n"), None) is one
    with pytest.raises(Unavailable) as caught:
        await made.choose(asked(), None)
    assert caught.value.reason is Reason.WORKER_LOST
    # Where there is only one worker, all have it.
    assert await Router(slots[:1], 0.0, lambda _: True).choose(asked(), None) is one


async def test_models_that_may_have_ended_a_worker_are_told_apart_and_leave_one_to_others() -> None:
    models = ("m", "n", "o", "p")
    workers = [process(index, serving={*models}, models=models) for index in range(4)]
    made = Router([slot(each, *models) for each in workers], 0.0, lambda model: model != "p")
    homes = [await made.choose(asked(1, model), None) for model in models[:3]]
    assert homes == workers[:3]
    # Of three, one is left to the others, and two suspects share another.
    workers[3].ready = False
    homes = [await made.choose(asked(1, model), None) for model in models[:3]]
    assert homes == [workers[0], workers[1], workers[0]]


async def test_a_model_is_asked_only_of_workers_that_have_it() -> None:
    first = process(0, models=("m",))
    second = process(1, serving={"n"}, models=("n",))
    made = Router([slot(first, "m"), slot(second, "n")], 0.0)
    for key in range(20):
        assert await made.choose(asked(key), None) is first
        assert await made.choose(asked(key, "n"), None) is second
    # One that has it says why it does not serve it; of unknown models any says that.
    first.serving = frozenset()
    assert await made.choose(asked(), None) is first
    assert {(await made.choose(asked(key, "x"), None)).seat.worker for key in range(20)} > {"0"}
    # While its worker is replaced, nobody else is asked.
    first.ready = first.listening = False
    with pytest.raises(DeadlineExceeded):
        await Router([slot(None, "m"), slot(second, "n")], 60).choose(asked(), 0.0)
