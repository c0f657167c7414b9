"""Requests that ask the same, callers, classes, deadlines and room."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from time import monotonic
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service.asking import (
    BYPASS,
    array,
    details,
    digits,
    explain,
    explanations,
    index,
    method,
    predict,
    reason,
    streaming,
)
from tests.integration.service.test_sharing import metric

pytestmark = pytest.mark.alone

Eventually = Callable[[Callable[[], bool]], None]
HIT = explanation_pb2.CACHE_STATUS_HIT
JOINED = explanation_pb2.CACHE_STATUS_JOINED
MISS = explanation_pb2.CACHE_STATUS_MISS


def asked(rows: int, seed: int, steps: int = 900, **fields: Any) -> pb.ExplainRequest:
    return explain(
        digits(rows, seed),
        method("integrated_gradients", n_steps=steps),
        model="digits",
        target=index(1),
        **fields,
    )


def values(reply: pb.ExplainResponse) -> list[Any]:
    return [array(each.attributions[0].values) for each in explanations(reply)]


def test_what_was_answered_before_is_not_computed_again(
    server: Server, stub: ExplanationServiceStub
) -> None:
    first = stub.Explain(asked(2, 501, 20))
    rows = metric(server, "adcaptum_rows_total", model="digits")
    again = stub.Explain(asked(2, 501, 20), metadata=(("x-request-id", "again"),))
    streamed = list(stub.ExplainStream(streaming(asked(2, 501, 20))))
    assert metric(server, "adcaptum_rows_total", model="digits") == rows
    assert (first.cache, again.cache, streamed[-1].result.cache) == (MISS, HIT, HIT)
    assert (again.request_id, again.timings.batches) == ("again", 0)
    assert again.results == first.results
    np.testing.assert_array_equal(values(first), values(again))
    bypassing = stub.Explain(asked(2, 501, 20, cache=BYPASS))
    assert bypassing.cache == explanation_pb2.CACHE_STATUS_BYPASSED
    assert metric(server, "adcaptum_rows_total", model="digits") > rows


def test_a_first_one_that_goes_away_hands_over(
    server: Server, stub: ExplanationServiceStub, eventually: Eventually
) -> None:
    rows = metric(server, "adcaptum_rows_total", model="digits")
    wasted = metric(server, "adcaptum_wasted_rows_total", model="digits")
    request = streaming(asked(20, 502))
    leader, follower = stub.ExplainStream(request), stub.ExplainStream(request)
    assert next(leader).HasField("accepted")
    assert next(follower).HasField("accepted")
    leader.cancel()
    *_, last = follower
    assert last.result.cache == JOINED
    assert len(explanations(last.result)) == 20
    used = last.result.results[0].rows_used
    assert metric(server, "adcaptum_rows_total", model="digits") - rows == used
    assert metric(server, "adcaptum_wasted_rows_total", model="digits") == wasted


def test_each_one_has_its_own_deadline(server: Server, stub: ExplanationServiceStub) -> None:
    request = asked(60, 503, budget=spec_pb2.Budget(tolerance=1e-7, max_rows=100_000))
    leader = stub.ExplainStream(streaming(request))
    assert next(leader).HasField("accepted")
    begin = monotonic()
    early = stub.Explain(request, timeout=2.0)
    took = monotonic() - begin
    assert early.cache == JOINED
    assert early.results[0].stop_reason == explanation_pb2.STOP_REASON_DEADLINE
    assert all(each.error.relative > 0 for each in explanations(early))
    assert 1.5 < took < 2.0
    event = next(leader)
    leader.cancel()
    assert event.HasField("progress")


def test_a_partial_answer_is_not_kept(stub: ExplanationServiceStub) -> None:
    request = asked(60, 504, budget=spec_pb2.Budget(tolerance=1e-7, max_rows=100_000))
    replies = [stub.Explain(request, timeout=1.0) for _ in range(2)]
    for reply in replies:
        assert reply.results[0].stop_reason == explanation_pb2.STOP_REASON_DEADLINE
        assert reply.cache == MISS
        # At work until shortly before the deadline.
        assert reply.timings.total_seconds > 0.8


def test_nobody_waits_for_one_of_a_class_behind_its_own(stub: ExplanationServiceStub) -> None:
    behind = stub.ExplainStream(streaming(asked(8, 505, priority=pb.PRIORITY_BATCH)))
    assert next(behind).HasField("accepted")
    assert stub.Explain(asked(8, 505)).cache == MISS
    assert [*behind][-1].result.cache == MISS


def test_a_deterministic_answer_is_the_same_in_a_crowd(stub: ExplanationServiceStub) -> None:
    request = asked(3, 511, 40, deterministic=True, cache=BYPASS)
    alone = stub.Explain(request)
    crowd = [stub.Explain.future(asked(5, 512 + i, 60)) for i in range(6)]
    beside = stub.Explain(request)
    assert all(explanations(each.result()) for each in crowd)
    for one, other in zip(values(alone), values(beside), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_class_that_does_not_exist_is_refused(stub: ExplanationServiceStub) -> None:
    with pytest.raises(grpc.RpcError, match="must be INTERACTIVE or BATCH"):
        stub.Explain(asked(1, 506, priority=9))


@pytest.mark.one_process
def test_a_stream_begins_with_what_is_ahead_and_how_long_it_takes(
    stub: ExplanationServiceStub,
) -> None:
    first = stub.ExplainStream(streaming(asked(30, 507)))
    alone = next(first).accepted
    second = stub.ExplainStream(streaming(asked(10, 508)))
    behind = next(second).accepted
    first.cancel()
    second.cancel()
    assert alone.expected_seconds > 0
    assert behind.requests_ahead >= 1
    assert behind.rows_ahead > 0
    assert behind.expected_seconds > alone.expected_seconds / 3


def test_nothing_is_evaluated_for_one_that_went_away(
    server: Server, stub: ExplanationServiceStub, eventually: Eventually
) -> None:
    before = metric(server, "adcaptum_rows_total", model="digits")
    stream = stub.ExplainStream(streaming(asked(60, 509)))
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("progress")
    stream.cancel()
    eventually(lambda: metric(server, "adcaptum_queue_rows") == 0)
    rows = metric(server, "adcaptum_rows_total", model="digits")
    stub.Predict(predict(digits(1, 510), "digits"))
    # One batch may have been running when the last rows were taken away.
    assert metric(server, "adcaptum_rows_total", model="digits") - rows <= 4096 + 1
    assert rows - before < 60 * 900


@pytest.fixture(scope="module")
def tiny(start_server: Start, repository: Any) -> Iterator[tuple[Server, ExplanationServiceStub]]:
    """A server with hardly any room."""
    server = start_server(
        repository, "--max_queue_rows", "30000", "--max_caller_requests", "2", ready=True
    )
    with grpc.insecure_channel(server.address) as channel:
        yield server, ExplanationServiceStub(channel)
    server.stop()


@pytest.mark.one_process
def test_who_finds_no_room_is_told_when_there_will_be(
    tiny: tuple[Server, ExplanationServiceStub],
) -> None:
    server, stub = tiny
    first = stub.ExplainStream(streaming(asked(30, 1)), metadata=(("x-caller-id", "first"),))
    assert next(first).HasField("accepted")
    with pytest.raises(grpc.RpcError, match="rows in flight, of 30000 allowed") as caught:
        stub.Explain(asked(30, 2), metadata=(("x-caller-id", "second"),))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(caught.value) == "QUEUE_FULL"
    assert details(caught.value)["ErrorInfo"].metadata["limit"] == "rows"
    delay: Any = details(caught.value)["RetryInfo"]
    assert 0.05 <= delay.retry_delay.ToTimedelta().total_seconds() <= 60
    assert explanations(stub.Explain(asked(1, 3, 10)))
    first.cancel()
    assert metric(server, "adcaptum_rejected_requests_total", reason="rows") == 1


@pytest.mark.one_process
def test_a_caller_has_limits_of_its_own(tiny: tuple[Server, ExplanationServiceStub]) -> None:
    server, stub = tiny
    many = (("x-caller-id", "many"),)
    streams = [stub.ExplainStream(streaming(asked(8, seed)), metadata=many) for seed in (4, 5)]
    for stream in streams:
        assert next(stream).HasField("accepted")
    with pytest.raises(grpc.RpcError, match="this caller has 2 requests in flight") as caught:
        stub.Explain(asked(1, 6, 10), metadata=many)
    assert reason(caught.value) == "QUOTA"
    assert details(caught.value)["QuotaFailure"].violations[0].subject == "caller_requests"
    assert explanations(stub.Explain(asked(1, 6, 10), metadata=(("x-caller-id", "few"),)))
    for stream in streams:
        stream.cancel()
    rejected = metric(server, "adcaptum_rejected_requests_total", reason="caller_requests")
    assert rejected == 1


def test_a_stream_sends_explanations_only_when_they_have_changed(
    stub: ExplanationServiceStub,
) -> None:
    request = asked(60, 521, budget=spec_pb2.Budget(tolerance=1e-7, max_rows=60_000))
    events = list(stub.ExplainStream(streaming(request)))
    sent = [
        [
            each.attributions[0].values.data
            for result in event.progress.results
            for each in result.explanations
        ]
        for event in events
        if event.HasField("progress") and event.progress.results
    ]
    sent = [each for each in sent if each]
    assert len(sent) >= 2
    assert all(one != other for one, other in pairwise(sent))


def test_a_stream_of_a_method_without_estimates_counts_rows(stub: ExplanationServiceStub) -> None:
    request = explain(digits(60, 522), method("occlusion"), model="digits", target=index(1))
    slow = asked(60, 523)
    beside = stub.ExplainStream(streaming(slow))
    assert next(beside).HasField("accepted")
    events = list(stub.ExplainStream(streaming(request)))
    beside.cancel()
    done = [event.progress.rows_done for event in events if event.HasField("progress")]
    assert not any(result.explanations for event in events for result in event.progress.results)
    assert done == sorted(done)
    assert events[-1].HasField("result")


def test_an_id_that_is_in_use_gets_an_ending(stub: ExplanationServiceStub) -> None:
    named = (("x-request-id", "mine"),)
    first = stub.ExplainStream(streaming(asked(60, 531)), metadata=named)
    assert next(first).accepted.request_id == "mine"
    second = stub.Explain(asked(1, 532, 10), metadata=named)
    assert second.request_id.startswith("mine.")
    longest = (("x-request-id", "x" * 128),)
    third = stub.ExplainStream(streaming(asked(60, 533)), metadata=longest)
    assert next(third).accepted.request_id == "x" * 128
    fourth = stub.Explain(asked(1, 534, 10), metadata=longest)
    assert fourth.request_id != "x" * 128
    assert len(fourth.request_id) == 128
    first.cancel()
    third.cancel()
