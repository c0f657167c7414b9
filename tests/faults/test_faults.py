"""Every fault, a few times: no call is lost, none is answered wrongly. `make faults` has more."""

from time import sleep

import grpc
import pytest

from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.faults.load import row
from tests.faults.repository import DEEDS
from tests.faults.running import running, workers_of
from tests.faults.scenarios import FAULTS, HELD, run
from tests.integration.service.asking import reason

QUARANTINED = {"REQUEST_QUARANTINED", "MODEL_QUARANTINED"}
ANSWERS = {
    "SIGTERM (the server ends)": {"exit status 0"},
    "a model raises": {"MODEL_RAISED"},
    "half-open and slow clients": {"open", "closed"},
    "returns NaN": {"answered"},
    "returns another shape": {"answered"},
    **dict.fromkeys(("sleeps for ever", "os._exit", "segfaults", "allocates"), QUARANTINED),
}
"""The ends that the calls may have that caused a fault."""

FAILING = {"SIGTERM (the server ends)", "2,000 calls at once"}
"""Faults during which calls may be refused with a status after which a client repeats."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_is_lost_and_none_is_answered_wrongly(fault: str) -> None:
    outcome = run(fault, FAULTS[fault].few)
    tally = outcome.tally
    assert (tally.lost, tally.wrong, tally.refused) == (0, 0, {}), tally.notes
    assert tally.sent == tally.right + tally.retryable
    assert {*outcome.answers} <= ANSWERS.get(fault, set())
    if fault == "half-open and slow clients":
        # All but those that have spoken HTTP/2 before, for which a ping has to be due.
        assert outcome.answers.count("closed") == 3 * HELD
    if fault not in FAILING:
        assert tally.retryable == 0, tally.notes
    if fault != "2,000 calls at once":
        assert tally.right > 0.9 * tally.sent


@pytest.mark.slow
def test_requests_go_past_a_worker_in_which_a_batch_hangs() -> None:
    options = ("--stuck_seconds", "60", "--drain_seconds", "1")
    with (
        running(*options, models=("late", "late_bad")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ExplanationServiceStub(channel)

        def predict(model: str, inputs: tensor_pb2.Tensor) -> pb.PredictRequest:
            return pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[inputs])

        # The event loop has no patience with them any more, in either worker.
        for seed in range(16):
            for model in ("late", "late_bad"):
                stub.Predict(predict(model, row(seed)), timeout=30)
        hung = stub.Predict.future(predict("late_bad", row(0, DEEDS["sleep"])))
        sleep(3)
        for seed in range(12):
            assert stub.Predict(predict("late", row(seed)), timeout=10).outputs
        assert not hung.done()
        hung.cancel()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_takes_all_memory_is_ended_for_that_before_it_counts_as_silent() -> None:
    # The model holds the event loop meanwhile, so that its worker answers no question.
    options = ("--worker_memory_bytes", str(900 << 20), "--unresponsive_seconds", "60")
    with running(*options) as server, grpc.insecure_channel(server.address) as channel:
        inputs = row(0, DEEDS["allocate"])
        request = pb.PredictRequest(model=model_pb2.ModelRef(name="bad"), inputs=[inputs])
        with pytest.raises(grpc.RpcError) as caught:
            ExplanationServiceStub(channel).Predict(request, timeout=120)
        assert reason(caught.value) in QUARANTINED
        # The same worker may have had both tries.
        reasons = {each.reason for each in workers_of(server)} - {""}
        assert reasons == {"it took too much memory"}
