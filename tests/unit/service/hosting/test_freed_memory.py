"""The memory of unloaded versions: nothing keeps the module, nor what was made of it."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from weakref import ref as weak

import numpy as np
import pytest

from adcaptum.service.models.loaders.model_code import PREFIX
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.guest import Guest
from adcaptum.service.server import Server
from adcaptum.service.settings import Settings
from adcaptum.v1 import explanation_service_pb2 as pb
from tests import life_models
from tests.integration.service.asking import tensor
from tests.integration.service.life import UNLOADED, Life, ref

METHODS = ("integrated_gradients", "deep_lift", "lrp", "kernel_shap", "lime", "occlusion")


class Running:
    """A server in a thread of this process.

    Attributes:
        server: The server.
        address: Where it speaks gRPC.
    """

    def __init__(self, repository: Path) -> None:
        self._ready = threading.Event()
        self.address = ""
        settings = Settings(
            repository=repository, port=0, http_port=0, admin_calls=True, device_threads=2
        )

        def ready(addresses: "dict[str, str]", _: object) -> None:
            self.address = addresses["grpc"]
            self._ready.set()

        self.server = Server(settings, guest=Guest(ready))  # type: ignore[arg-type] # a Mapping
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))
        self._thread.start()
        assert self._ready.wait(60)

    def served(self, name: str = "scale") -> "list[weak[ServedModel]]":
        """Returns the versions of a model that serve."""
        return [weak(each) for each in self.server._catalogue.entry(name).served.values()]

    def stop(self) -> None:
        self.server.stop()
        self._thread.join()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    life_models.write(tmp_path, factor=2.0)
    running = Running(tmp_path)
    yield running
    running.stop()


def ask_everything(life: Life, name: str = "scale") -> None:
    """Has every lane, cache and record of the server know a model."""
    rows = np.random.default_rng(0).uniform(1, 2, (8, 2)).astype(np.float32)

    def explain(method: str, count: int) -> None:
        request = pb.ExplainRequest(model=ref(name), inputs=[tensor(rows[:count])])
        request.spec.methods.add(name=method)
        request.spec.targets.add().index.values.append(0)
        life.explanation.Explain(request)
        for _ in life.explanation.ExplainStream(pb.ExplainStreamRequest(explain=request)):
            pass

    with ThreadPoolExecutor(8) as pool:
        explained = [pool.submit(explain, each, count) for each in METHODS for count in (1, 8)]
        predicted = [pool.submit(life.factor, name) for _ in range(16)]
        for explanation in explained:
            explanation.result()
        assert {each.result() for each in predicted} == {life.factor(name)}


def wait_until_gone(references: "list[weak[ServedModel]]") -> None:
    end = monotonic() + 20
    while any(each() is not None for each in references):
        if monotonic() > end:
            (left, *_) = [each() for each in references if each() is not None]
            pytest.fail(f"kept by {[type(each) for each in gc.get_referrers(left)]}")
        sleep(0.05)


def test_nothing_keeps_an_unloaded_version(running: Running) -> None:
    with Life.at(running.address) as life:
        ask_everything(life)
        served = running.served()
        modules = [weak(each().loaded.module) for each in served]  # type: ignore[union-attr] # serves
        life.unload()
        wait_until_gone(served)
        end = monotonic() + 20
        while life.states() != {"1": UNLOADED} and monotonic() < end:
            sleep(0.05)
        assert life.states() == {"1": UNLOADED}
        assert all(each() is None for each in modules)
        assert not any(name.startswith(f"{PREFIX}scale") for name in sys.modules)


def test_nothing_keeps_what_was_loaded_before(running: Running, tmp_path: Path) -> None:
    with Life.at(running.address) as life:
        for factor in (3.0, 4.0):
            ask_everything(life)
            served = running.served()
            life_models.add_version(tmp_path / "scale", "1", factor)
            life.load()
            wait_until_gone(served)
            assert life.factor() == factor
