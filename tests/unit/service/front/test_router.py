from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adcaptum.service.errors import DeadlineExceeded, Reason, Unavailable
from adcaptum.service.front.router import Router, bounded, key_of
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.worker_process import WorkerProcess


def process(worker: int, **facts: Any) -> WorkerProcess:
    known: dict[str, Any] = {
        "ready": True,
        "prompt": True,
        "listening": True,
        "stopping": False,
        "outstanding": 0,
    }
    known.update(facts)
    known.setdefault("serving", {"m"} if known["ready"] else set())
    made = SimpleNamespace(seat=SimpleNamespace(worker=str(worker)), **known)
    # Processes are told apart by identity, and namespaces by their contents.
    return cast("WorkerProcess", _Apart(made.__dict__))


class _Apart:
    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)


def router(*processes: WorkerProcess | None, wait: float = 0.0) -> Router:
    return Router([cast("Slot", SimpleNamespace(process=each)) for each in processes], wait)


def test_equal_requests_go_to_one_worker_and_others_to_all() -> None:
    processes = [process(index) for index in range(4)]
    chosen = [bounded(processes, key_of(str(n).encode())).seat.worker for n in range(400)]
    again = [bounded(processes[::-1], key_of(str(n).encode())).seat.worker for n in range(400)]
    assert chosen == again
    assert min(Counter(chosen).values()) > 60
    assert len(Counter(chosen)) == 4


def test_most_requests_keep_their_worker_when_one_is_lost() -> None:
    processes = [process(index) for index in range(4)]
    keys = [key_of(str(n).encode()) for n in range(200)]
    for key in keys:
        before = bounded(processes, key)
        if before.seat.worker != "3":
            assert bounded(processes[:3], key) is before


def test_no_worker_has_more_than_its_share() -> None:
    processes = [process(index) for index in range(4)]
    for _ in range(100):
        bounded(processes, 7).outstanding += 1
    loads = [each.outstanding for each in processes]
    assert sum(loads) == 100
    assert max(loads) <= 1.25 * 101 / 4 + 1


async def test_a_worker_that_serves_the_model_is_preferred_and_a_lost_one_avoided() -> None:
    one, other = process(0), process(1)
    without = process(2, serving={"n"})
    loading = process(3, ready=False)
    for key in range(20):
        assert await router(one, without, loading).choose("m", key, None) is one
        assert await router(one, other).choose("m", key, None, [one]) is other
        assert await router(one, None).choose("m", key, None, [one]) is one


async def test_a_worker_that_does_not_answer_gets_no_more_where_another_does() -> None:
    stopped, other = process(0, prompt=False), process(1)
    for key in range(20):
        assert await router(stopped, other).choose("m", key, None) is other
        assert await router(stopped).choose("m", key, None) is stopped


async def test_before_any_has_served_one_that_loads_answers() -> None:
    loading = process(0, ready=False)
    assert await router(loading).choose("m", 1, None) is loading


async def test_later_a_request_waits_for_one_that_serves() -> None:
    worker = process(0)
    made = router(worker, wait=0.0)
    assert await made.choose("m", 1, None) is worker
    worker.listening = False
    with pytest.raises(Unavailable) as caught:
        await made.choose("m", 1, None)
    assert caught.value.reason is Reason.WORKER_LOST
    with pytest.raises(DeadlineExceeded):
        await router(worker, wait=60).choose("m", 1, 0.0)


async def test_a_model_that_ended_a_worker_has_one_worker_and_never_the_last() -> None:
    one, other, third = process(0), process(1), process(2, ready=False)
    slots = [cast("Slot", SimpleNamespace(process=each)) for each in (one, other, third)]
    made = Router(slots, 0.0, lambda model: model == "m")
    for key in range(20):
        assert await made.choose("m", key, None) is one
    innocent = {(await made.choose("n", key, None)).seat.worker for key in range(20)}
    assert innocent == {"0", "1"}
    other.ready = False
    assert await made.choose("n", 1, None) is one
    with pytest.raises(Unavailable) as caught:
        await made.choose("m", 1, None)
    assert caught.value.reason is Reason.WORKER_LOST
    # Where there is only one worker, all have it.
    assert await Router(slots[:1], 0.0, lambda _: True).choose("m", 1, None) is one
