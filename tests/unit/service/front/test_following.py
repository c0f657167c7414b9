"""The first front's state as the others have it."""

import asyncio
import json
from collections import deque
from pathlib import Path

from adcaptum.service.front.following.bulletin import Deaths, bulletin, line
from adcaptum.service.front.following.mirror import Mirror
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.processes.journal import BATCH, Entry
from adcaptum.service.processes.seat import Seat
from adcaptum.service.supervisor.death import Death
from adcaptum.service.supervisor.views import SlotView, WorkerView

DEATH = Death("SIGSEGV", "signal", (Entry(BATCH, "bad", ("r1", "r2"), 1.0, 0.5),), -11)


def process(folder: Path, number: int) -> WorkerView:
    grpc, http, frames, journal = (folder / f"{number}.{name}" for name in "ghfj")
    seat = Seat(
        "0", grpc, http, frames, journal, supervisor=1, quarantined=("m",), models=("a", "bad")
    )
    view = WorkerView(seat, 100 + number, 1 << 20)
    view.ready = view.listening = True
    view.known, view.serving = frozenset({"a", "bad"}), frozenset({"a"})
    return view


async def test_a_bulletin_is_what_it_was_made_of(tmp_path: Path) -> None:
    slot = SlotView("0", "cpu")
    slot.process, slot.restarts, slot.reason = process(tmp_path, 1), 3, "why"
    slot.models = ("a", "bad")
    deaths: Deaths = deque()
    quarantined = {"bad": "it ended 3 workers"}
    mirror = Mirror(1 << 20)

    async def tell() -> None:
        told = bulletin([slot], deaths, quarantined, lambda model: model == "bad")
        await mirror.update(json.loads(line(told)))

    await tell()
    (mirrored,) = mirror.slots
    first = mirrored.process
    assert first is not None
    assert slot.process is not None
    assert (mirrored.restarts, mirrored.reason, mirror.quarantined) == (3, "why", quarantined)
    assert mirrored.models == slot.models
    assert (first.seat, first.pid) == (slot.process.seat, 101)
    assert (first.ready, first.listening, first.stopping) == (True, True, False)
    assert (first.known, first.serving) == (slot.process.known, slot.process.serving)
    assert mirror.is_suspect("bad")
    assert not mirror.is_suspect("a")
    await tell()
    assert mirrored.process is first
    # Its end is told to whoever waits for it, with the requests whose rows ran.
    deaths.append((str(slot.process.seat.socket), DEATH))
    slot.process = None
    await tell()
    assert mirrored.process is None
    assert first.died.result() == DEATH
    assert first.died.result().requests == {"r1", "r2"}
    slot.process = process(tmp_path, 2)
    await tell()
    assert mirrored.process is not None
    assert mirrored.process.pid == 102
    assert not mirrored.process.died.done()


async def test_one_suspect_at_a_time_has_its_turn_over_all_fronts(tmp_path: Path) -> None:
    fronts = [Suspects(tmp_path / "turn"), Suspects(tmp_path / "turn")]
    under_way, most = 0, 0

    async def send(front: Suspects) -> None:
        nonlocal under_way, most
        async with front.alone():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1

    await asyncio.wait_for(asyncio.gather(*(send(each) for each in fronts * 3)), 20)
    assert most == 1


def test_a_quarantine_tells_of_what_it_adds_and_not_of_what_it_was_told() -> None:
    told: list[bytes] = []
    first, second = Quarantine(60, told.append), Quarantine(60)
    first.add("Predict", b"rows")
    (digest,) = told
    assert not second.holds("Predict", b"rows")
    second.put(digest)
    assert second.holds("Predict", b"rows")
    assert not second.holds("Explain", b"rows")
    ((known, seconds),) = first.digests()
    assert known == digest
    assert 0 < seconds <= 60
    first.put(b"other")
    assert told == [digest]
    second.put(b"soon", 0.0)
    assert not second.holds("Predict", b"anything")
