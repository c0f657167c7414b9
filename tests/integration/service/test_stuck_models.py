"""Models that hang, sleep and raise what ends processes, in one process with others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service import stuck_models
from tests.integration.service.asking import cells, explain, index, method, predict, reason

pytestmark = pytest.mark.alone

Eventually = Callable[[Callable[[], bool]], None]
STUCK_SECONDS = 1.0


def bad() -> NDArray[np.float32]:
    rows = cells()
    rows[0, 0] = 2000
    return rows


@pytest.fixture
def start(start_server: Start, tmp_path: Path) -> Callable[..., Server]:
    def begin(*options: str, ready: bool = True, **factories: str) -> Server:
        environment = stuck_models.folder(tmp_path, **factories)
        options = ("--drain_seconds", "1", "--stuck_seconds", str(STUCK_SECONDS), *options)
        return start_server(tmp_path / "models", *options, ready=ready, **environment)

    return begin


LAST_WORDS = {"threads were left", "stopped by force"}


@pytest.mark.parametrize("weight", ["light", "heavy"])
def test_sigterm_ends_a_server_in_which_a_model_sleeps(
    start: Callable[..., Server], eventually: Eventually, tmp_path: Path, weight: str
) -> None:
    server = start("--stuck_seconds", "600", one=weight)
    stuck_models.tell(tmp_path, "one", "sleep")
    with grpc.insecure_channel(server.address) as channel:
        hanging = ExplanationServiceStub(channel).Predict.future(predict(bad(), "one"))
        eventually((tmp_path / "told" / "one.begun").exists)
        # Drained for 1 s, and ended 5 s later at most, with some seconds for a busy machine.
        server.stop(20)
        error = hanging.exception()
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    # A heavy forward keeps a thread of its own, which is left; one in the event loop keeps the
    # server, which ends by force, as does whatever takes too long to stop on a busy machine.
    server.wait_for("ended")
    ends = [line for line in server.lines if line["event"] in LAST_WORDS]
    assert weight == "heavy" or ends[-1]["event"] == "stopped by force"
    assert any(
        "hostile_models.py" in place
        for line in ends
        for places in line["threads"].values()
        for place in places
    )


def test_sigterm_ends_a_server_whose_factory_sleeps(
    start: Callable[..., Server], eventually: Eventually, tmp_path: Path
) -> None:
    server = start(ready=False, one="sleeping")
    eventually((tmp_path / "told" / "sleeping.begun").exists)
    server.stop(20)
    server.wait_for("stopped")


@pytest.mark.one_process
def test_a_model_that_is_stuck_is_refused_and_others_go_on(
    start: Callable[..., Server], eventually: Eventually, tmp_path: Path
) -> None:
    server = start("--device_threads", "1", "--intra_op_threads", "1", one="heavy", other="heavy")
    stuck_models.tell(tmp_path, "one", "wait")
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        hanging = stub.Predict.future(predict(bad(), "one"))
        eventually((tmp_path / "told" / "one.begun").exists)
        # The only thread is the stuck model's.
        assert stub.Predict(predict(cells(), "other")).outputs
        for call in (hanging, stub.Predict.future(predict(cells(), "one"))):
            error = call.exception()
            assert isinstance(error, grpc.RpcError)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "'one' is stuck" in str(error.details())
            assert reason(error) == "MODEL_STUCK"
        server.wait_for("a model is stuck", model="one")
        (tmp_path / "told" / "one.go").write_text("")
        server.wait_for("a model that was stuck goes on", model="one")
        assert stub.Predict(predict(bad(), "one")).outputs
    assert server.stop() == 0


def test_a_model_that_waits_leaves_the_event_loop(
    start: Callable[..., Server], eventually: Eventually, tmp_path: Path
) -> None:
    server = start(one="light", other="light")
    assert server.wait_for("loaded", model="one")["light"] is True
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        stuck_models.tell(tmp_path, "one", "nap")
        assert stub.Predict(predict(bad(), "one")).outputs
        server.wait_for("banned from the event loop", model="one")
        (tmp_path / "told" / "one.begun").unlink()
        # From now on its batches hold nobody up, whatever they do.
        stuck_models.tell(tmp_path, "one", "wait")
        hanging = stub.Predict.future(predict(bad(), "one"))
        eventually((tmp_path / "told" / "one.begun").exists)
        assert stub.Predict(predict(cells(), "other")).outputs
        assert not hanging.done()
        (tmp_path / "told" / "one.go").write_text("")
        assert hanging.result().outputs
    assert server.stop() == 0


@pytest.mark.parametrize("weight", ["light", "heavy"])
@pytest.mark.parametrize("deed", ["exit", "interrupt"])
def test_what_would_end_the_process_ends_a_request(
    start: Callable[..., Server], tmp_path: Path, deed: str, weight: str
) -> None:
    server = start(one=weight)
    stuck_models.tell(tmp_path, "one", deed)
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        good = [stub.Predict.future(predict(cells(seed=seed), "one")) for seed in range(4)]
        culprits: list[Any] = [
            stub.Predict.future(predict(bad(), "one")),
            stub.Explain.future(explain(bad(), method("saliency"), model="one", target=index(0))),
        ]
        for culprit in culprits:
            error = culprit.exception()
            assert isinstance(error, grpc.RpcError)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert reason(error) == "MODEL_RAISED"
        for each in good:
            assert each.result().outputs
        assert stub.Predict(predict(cells(), "one")).outputs
    assert server.stop() == 0
