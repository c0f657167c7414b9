"""Changes of models, and workers that start and end meanwhile."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adcaptum.v1 import repository_service_pb2 as pb
from tests import life_models
from tests.integration.conftest import Start
from tests.integration.service.conftest import Eventually
from tests.integration.service.life import READY, UNLOADED, Life

pytestmark = [pytest.mark.one_process, pytest.mark.slow]


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of three models."""
    folder = tmp_path_factory.mktemp("changing")
    for name in ("scale", "other", "gone"):
        life_models.add_version(life_models.declare(folder, name, aliases='old = "1"'), "1", 1.0)
    return folder


@pytest.fixture(scope="module")
def life(start_server: Start, changing: Path) -> Iterator[Life]:
    server = start_server(changing, "--workers", "2", ADCAPTUM_ADMIN_CALLS="true")
    with Life.at(server.address) as life:
        yield life


def kill(life: Life, worker: str) -> None:
    """Ends the process of a worker."""
    workers = life.repository.ListWorkers(pb.ListWorkersRequest()).workers
    (pid,) = [each.pid for each in workers if each.id == worker]
    os.kill(pid, signal.SIGKILL)


def placed(life: Life, name: str = "scale") -> dict[str, dict[str, int]]:
    """Returns the state of each version on each worker."""
    return {
        each.identity.version: {place.worker: place.state for place in each.placements}
        for each in life.model(name).versions
    }


def test_a_worker_that_comes_has_what_the_others_have(
    life: Life, changing: Path, eventually: Eventually
) -> None:
    folder = changing / "scale"
    life_models.add_version(folder, "2", 2.0)
    life.load()
    life.set_alias("stable", "2")
    life.unload("gone")
    # A version that nobody has asked for is not loaded because a process happens to end.
    life_models.add_version(folder, "3", 3.0)
    life_models.write(changing, "new", 5.0)
    life.load("new")
    for worker in ("0", "1"):
        kill(life, worker)
        eventually(lambda: placed(life).get("2") == {"0": READY, "1": READY})
        eventually(lambda: placed(life, "new").get("1") == {"0": READY, "1": READY})
    assert placed(life)["1"] == {"0": READY, "1": READY}
    assert set(placed(life)["3"].values()) == {UNLOADED}
    assert set(placed(life, "gone")["1"].values()) == {UNLOADED}
    for _ in range(8):
        assert life.factor(alias="stable") == life.factor() == 2.0
        assert life.factor("new") == 5.0


def test_what_ends_a_worker_while_it_loads_leaves_the_others(
    life: Life, changing: Path, eventually: Eventually
) -> None:
    folder = life_models.declare(changing, "deadly")
    life_models.add_version(folder, "1", 1.0)
    code = (folder / "code" / "net.py").read_text()
    (folder / "code" / "net.py").write_text(code + "\nos._exit(7)\n")
    with pytest.raises(Exception, match="a worker process ended meanwhile"):
        life.load("deadly")
    workers = life.repository.ListWorkers
    eventually(lambda: all(each.models for each in workers(pb.ListWorkersRequest()).workers))
    restarts = [each.restarts for each in workers(pb.ListWorkersRequest()).workers]
    assert life.factor("other") == 1.0
    # Whoever comes in its place is not ended by it again.
    assert sum(restarts) <= 3


def test_no_request_fails_while_a_model_is_loaded_anew(life: Life, changing: Path) -> None:
    ended, seen = threading.Event(), list[float]()

    def ask() -> None:
        while not ended.is_set():
            seen.append(life.factor("other"))

    asking = threading.Thread(target=ask)
    asking.start()
    for factor in (4.0, 5.0, 6.0):
        life_models.add_version(changing / "other", "1", factor)
        life.load("other")
        assert life.factor("other") == factor
    ended.set()
    asking.join()
    assert set(seen) <= {1.0, 4.0, 5.0, 6.0}
