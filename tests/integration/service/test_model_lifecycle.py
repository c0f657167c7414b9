"""Models loaded, unloaded and aliased while a server runs, by RepositoryService."""

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adcaptum.v1 import (
    explanation_pb2 as answer_pb2,
    explanation_service_pb2 as explanation_pb2,
    repository_service_pb2 as pb,
)
from tests import life_models
from tests.integration.conftest import Server, Start
from tests.integration.service.asking import array, tensor
from tests.integration.service.conftest import Eventually
from tests.integration.service.life import (
    FAILED,
    LOADING,
    READY,
    UNLOADED,
    UNLOADING,
    Life,
    ref,
    refused,
)

ABORTED, EXISTS = grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS
MISSING, PRECONDITION = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="alone"),
        pytest.param(("--workers", "2", "--fronts", "2"), id="fronts", marks=pytest.mark.slow),
    ],
)
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of a server."""
    options: tuple[str, ...] = request.param
    return options


@pytest.fixture(scope="module")
def changing(mode: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that tests change, each at models of its own."""
    folder = tmp_path_factory.mktemp("changing")
    life_models.write(folder, "first")
    return folder


@pytest.fixture(scope="module")
def live(start_server: Start, mode: tuple[str, ...], changing: Path) -> Server:
    # A thread may be held up by a test.
    settings = {"ADCAPTUM_ADMIN_CALLS": "true", "ADCAPTUM_DEVICE_THREADS": "2"}
    return start_server(changing, *mode, **settings)


@pytest.fixture(scope="module")
def life(live: Server) -> Iterator[Life]:
    with Life.at(live.address) as life:
        yield life


@pytest.fixture
def folder(changing: Path, request: pytest.FixtureRequest, life: Life) -> Path:
    """The folder of a model with versions 1 and 2, of which 1 is `stable`."""
    name = request.node.name.removeprefix("test_")[:60].replace("[", "-").replace("]", "")
    made = life_models.declare(changing, name, aliases='stable = "1"')
    life_models.add_version(made, "1", 1.0)
    life_models.add_version(made, "2", 2.0)
    life.load(name)
    return made


def test_a_new_model_is_found_loaded_and_serves(life: Life, folder: Path) -> None:
    assert life.states(folder.name) == {"1": READY, "2": READY}
    assert (life.model(folder.name).default_version, life.factor(folder.name)) == ("2", 2.0)
    assert life.factor(folder.name, alias="stable") == 1.0
    server = life.explanation.GetServer(explanation_pb2.GetServerRequest())
    assert "model_lifecycle" in server.extensions


def test_a_changed_version_is_loaded_anew_and_an_equal_one_is_not(life: Life, folder: Path) -> None:
    before = life.model(folder.name).versions
    life_models.add_version(folder, "2", 5.0)
    described = life.load(folder.name)
    assert life.factor(folder.name) == 5.0
    after = life.model(folder.name).versions
    assert after[0].load_time == before[0].load_time
    assert described.identity.digest == after[1].identity.digest != before[1].identity.digest


def test_an_answer_of_the_old_version_is_not_kept_for_the_new_one(life: Life, folder: Path) -> None:
    request = explanation_pb2.ExplainRequest(
        model=ref(folder.name), inputs=[tensor(np.ones((1, 2), np.float32))]
    )
    request.spec.methods.add(name="saliency")
    request.spec.targets.add().index.values.append(0)

    def gradient() -> tuple[float, int]:
        reply = life.explanation.Explain(request)
        (found,) = reply.results[0].explanations[0].attributions
        return float(array(found.values).flat[0]), reply.cache

    assert gradient() == (2.0, answer_pb2.CACHE_STATUS_MISS)
    assert gradient() == (2.0, answer_pb2.CACHE_STATUS_HIT)
    life_models.add_version(folder, "2", 7.0)
    life.load(folder.name)
    assert gradient() == (7.0, answer_pb2.CACHE_STATUS_MISS)


def test_versions_that_the_folder_lacks_are_unloaded_with_the_model(
    life: Life, folder: Path
) -> None:
    life_models.drop(folder, "2")
    assert life.load(folder.name).identity.version == "1"
    assert life.factor(folder.name) == 1.0
    with refused(MISSING, "VERSION_NOT_FOUND"):
        life.factor(folder.name, "2")


def test_what_fails_to_load_leaves_what_serves(live: Server, life: Life, folder: Path) -> None:
    life_models.spoil(folder, "2")
    life_models.spoil(folder, "3")
    with refused(PRECONDITION, "MODEL_FAILED") as text:
        life.load(folder.name)
    assert "What was loaded before serves." in text[0]
    one, two, three = life.model(folder.name).versions
    assert (one.load_failure, two.state, three.state) == ("", READY, FAILED)
    assert "weights.safetensors" in two.load_failure
    assert "weights.safetensors" in three.reason
    assert life.model(folder.name).default_version == "2"
    assert life.factor(folder.name) == 2.0
    live.wait_for("a model does not load", model=folder.name, version="2")
    life_models.add_version(folder, "2", 4.0)
    life_models.drop(folder, "3")
    life.load(folder.name)
    assert life.factor(folder.name) == 4.0
    assert [each.load_failure for each in life.model(folder.name).versions] == ["", ""]


def test_a_declaration_that_cannot_be_read_leaves_what_serves(life: Life, folder: Path) -> None:
    good = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text("factory = 1")
    with refused(PRECONDITION, "MODEL_FAILED"):
        life.load(folder.name)
    assert life.factor(folder.name) == 2.0
    assert all("factory" in each.load_failure for each in life.model(folder.name).versions)
    (folder / "model.toml").write_text(good)
    life.load(folder.name)
    assert not life.model(folder.name).versions[0].load_failure


def test_a_folder_that_vanishes(life: Life, folder: Path) -> None:
    shutil.rmtree(folder)
    with refused(PRECONDITION, "MODEL_FAILED") as text:
        life.load(folder.name)
    assert "No such file" in text[0]
    assert life.factor(folder.name) == 2.0
    life.unload(folder.name)
    with refused(MISSING, "MODEL_NOT_FOUND"):
        life.load(folder.name)
    with refused(MISSING, "MODEL_NOT_FOUND"):
        life.factor(folder.name)


def test_an_unloaded_model_is_refused_until_it_is_loaded(
    live: Server, life: Life, folder: Path, eventually: Eventually
) -> None:
    assert life.unload(folder.name).state in (UNLOADING, UNLOADED)
    with refused(PRECONDITION, "MODEL_UNLOADED"):
        life.factor(folder.name)
    eventually(lambda: life.states(folder.name) == {"1": UNLOADED, "2": UNLOADED})
    with grpc.insecure_channel(live.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=folder.name)
        serving = health_pb2.HealthCheckResponse.SERVING
        eventually(lambda: health.Check(asked).status != serving)
        life.load(folder.name)
        eventually(lambda: health.Check(asked).status == serving)
    assert life.factor(folder.name) == 2.0


def test_one_version_is_unloaded_and_the_default_moves(life: Life, folder: Path) -> None:
    life.unload(folder.name, "2")
    assert life.model(folder.name).default_version == "1"
    assert life.factor(folder.name) == 1.0
    with refused(PRECONDITION, "MODEL_UNLOADED"):
        life.factor(folder.name, "2")
    assert life.load(folder.name, "2").state == READY
    assert life.model(folder.name).default_version == "2"


def test_versions_in_use_are_not_unloaded(life: Life, folder: Path) -> None:
    with refused(PRECONDITION, "VERSION_IN_USE") as text:
        life.unload(folder.name, "1")
    assert "'stable'" in text[0]
    life.repository.DeleteAlias(pb.DeleteAliasRequest(model=ref(folder.name), alias="stable"))
    life.unload(folder.name, "1")
    with refused(PRECONDITION, "VERSION_IN_USE") as text:
        life.unload(folder.name, "2")
    assert "only one that serves" in text[0]
    (folder / "model.toml").write_text(
        (folder / "model.toml").read_text().replace("[arg", 'default_version = "2"\n[arg')
    )
    life.load(folder.name)
    with refused(PRECONDITION, "VERSION_IN_USE") as text:
        life.unload(folder.name, "2")
    assert "default_version" in text[0]


def test_requests_finish_on_the_version_on_which_they_began(
    life: Life, changing: Path, tmp_path: Path, eventually: Eventually
) -> None:
    hold = tmp_path / "hold"
    # Rows that take so long are evaluated in device threads, and hold up nothing else.
    folder = life_models.declare(changing, "sleepy", hold=hold, row_seconds=0.001)
    life_models.add_version(folder, "1", 3.0)
    life.load("sleepy")
    hold.touch()
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(life.factor, "sleepy", slowly=True)
        try:
            time.sleep(0.2)
            life_models.add_version(folder, "1", 8.0)
            life.load("sleepy")
            assert life.factor("sleepy") == 8.0
            assert not under_way.done()
        finally:
            hold.unlink()
        assert under_way.result() == 3.0
    life.unload("sleepy")
    eventually(lambda: life.states("sleepy") == {"1": UNLOADED})


def test_two_loads_at_once_are_one(live: Server, life: Life, changing: Path) -> None:
    life_models.write(changing, "joined", loading=0.3)
    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(life.load, "joined") for _ in range(8)]
        assert {each.result().state for each in loads} == {READY}
    loaded = [each for each in live.lines if each["event"] == "loaded"]
    workers = [each.get("worker") for each in loaded if each["model"] == "joined"]
    assert len(workers) == len({*workers})


def test_a_load_that_is_not_awaited(life: Life, changing: Path, eventually: Eventually) -> None:
    life_models.write(changing, "later", loading=0.3)
    assert life.load("later", wait=False).state == LOADING
    eventually(lambda: life.states("later") == {"1": READY})


def test_a_load_goes_on_when_its_caller_leaves(
    life: Life, changing: Path, eventually: Eventually
) -> None:
    life_models.write(changing, "left", loading=0.3)
    request = pb.LoadModelRequest(model=ref("left"), wait=True)
    with pytest.raises(grpc.RpcError):
        life.repository.LoadModel(request, timeout=0.1)
    eventually(lambda: life.states("left") == {"1": READY})


def test_what_is_not_there_is_not_found(life: Life, folder: Path) -> None:
    with refused(MISSING, "MODEL_NOT_FOUND") as text:
        life.load("frist")
    assert "'first'" in text[0]
    for name in ("../first", "/etc", ".adcaptum"):
        with refused(MISSING, "MODEL_NOT_FOUND"):
            life.load(name)
    for call in (life.load, life.unload):
        with refused(MISSING, "VERSION_NOT_FOUND"):
            call(folder.name, "9")
    with refused(MISSING, "MODEL_NOT_FOUND"):
        life.unload("frist")
    with refused(MISSING, "ALIAS_NOT_FOUND"):
        life.repository.LoadModel(pb.LoadModelRequest(model=ref(folder.name, alias="none")))
    with refused(INVALID, "FIELD_INVALID"):
        life.load("")


def test_a_repeated_key_is_answered_once(life: Life, folder: Path) -> None:
    first = life.load(folder.name, key="a-1")
    life_models.add_version(folder, "2", 6.0)
    assert life.load(folder.name, key="a-1") == first
    assert life.factor(folder.name) == 2.0
    with refused(EXISTS, "KEY_REUSED"):
        life.load(folder.name, "2", key="a-1")
    with refused(EXISTS, "KEY_REUSED"):
        life.repository.UnloadModel(
            pb.UnloadModelRequest(model=ref(folder.name), idempotency_key="a-1")
        )
    with refused(INVALID, "FIELD_INVALID"):
        life.load(folder.name, key="a key")
    life.load(folder.name, key="a-2")
    assert life.factor(folder.name) == 6.0


def test_an_alias_moves(life: Life, folder: Path) -> None:
    assert dict(life.set_alias("stable", "2", "1", folder.name).aliases) == {"stable": "2"}
    assert life.factor(folder.name, alias="stable") == 2.0
    with refused(ABORTED, "ALIAS_MOVED"):
        life.set_alias("stable", "1", "1", folder.name)
    # Repeating is safe, and an alias can be asked to be new.
    life.set_alias("stable", "2", "1", folder.name)
    life.set_alias("canary", "1", "", folder.name)
    with refused(ABORTED, "ALIAS_MOVED"):
        life.set_alias("canary", "2", "", folder.name)
    with refused(INVALID, "FIELD_INVALID"):
        life.set_alias("", "2", None, folder.name)
    with refused(INVALID, "FIELD_INVALID"):
        life.set_alias("can ary", "2", None, folder.name)
    with refused(MISSING, "VERSION_NOT_FOUND"):
        life.set_alias("canary", "9", None, folder.name)
    promote = pb.SetAliasRequest(model=ref(folder.name, alias="canary"), alias="stable")
    assert life.repository.SetAlias(promote).model.aliases["stable"] == "1"
    life.unload(folder.name, "2")
    with refused(PRECONDITION, "MODEL_UNLOADED"):
        life.set_alias("canary", "2", None, folder.name)


def test_an_alias_is_removed(life: Life, folder: Path) -> None:
    remove = life.repository.DeleteAlias
    with refused(ABORTED, "ALIAS_MOVED"):
        remove(pb.DeleteAliasRequest(model=ref(folder.name), alias="stable", expected_version="2"))
    left = remove(pb.DeleteAliasRequest(model=ref(folder.name), alias="stable")).model
    assert not left.aliases
    with refused(MISSING, "ALIAS_NOT_FOUND"):
        life.factor(folder.name, alias="stable")
    with refused(MISSING, "ALIAS_NOT_FOUND"):
        remove(pb.DeleteAliasRequest(model=ref(folder.name), alias="stable"))
    with refused(INVALID, "FIELD_INVALID"):
        remove(pb.DeleteAliasRequest(model=ref(folder.name)))
    with refused(INVALID, "FIELD_INVALID"):
        remove(pb.DeleteAliasRequest(model=ref(folder.name, "1"), alias="stable"))


def test_requests_by_an_alias_never_fail_while_it_moves(life: Life, folder: Path) -> None:
    ended, seen = threading.Event(), list[float]()

    def ask() -> None:
        while not ended.is_set():
            seen.append(life.factor(folder.name, alias="stable"))

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for round_ in range(20):
            version = "21"[round_ % 2]
            life.set_alias("stable", version, None, folder.name)
            assert life.factor(folder.name, alias="stable") == float(version)
        ended.set()
        for each in asking:
            each.result()
    assert set(seen) <= {1.0, 2.0}


def test_changed_aliases_outlive_the_server(start_server: Start, tmp_path: Path) -> None:
    folder = life_models.declare(tmp_path, aliases='stable = "1"\nold = "1"')
    life_models.add_version(folder, "1", 1.0)
    life_models.add_version(folder, "2", 2.0)
    server = start_server(tmp_path, ADCAPTUM_ADMIN_CALLS="true")
    with Life.at(server.address) as life:
        life.set_alias("stable", "2")
        life.set_alias("canary", "1")
        life.repository.DeleteAlias(pb.DeleteAliasRequest(model=ref(), alias="old"))
    server.stop()
    server = start_server(tmp_path)
    with Life.at(server.address) as life:
        assert dict(life.model().aliases) == {"stable": "2", "canary": "1"}
        with refused(PRECONDITION, "ADMIN_REFUSED"):
            life.set_alias("canary", "2")
        with refused(PRECONDITION, "ADMIN_REFUSED"):
            life.load()
        with refused(PRECONDITION, "ADMIN_REFUSED"):
            life.unload()


def test_aliases_that_cannot_be_kept_do_not_move(life: Life, changing: Path, folder: Path) -> None:
    kept = changing / ".adcaptum"
    aside = changing / ".aside"
    if kept.exists():
        kept.rename(aside)
    kept.write_text("a file in its place")
    try:
        with refused(PRECONDITION, "REPOSITORY_UNWRITABLE"):
            life.set_alias("stable", "2", None, folder.name)
        assert life.factor(folder.name, alias="stable") == 1.0
    finally:
        kept.unlink()
        if aside.exists():
            aside.rename(kept)
