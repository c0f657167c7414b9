"""Predictions that come together are one batch's, and none can tell."""

import asyncio
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.v1 import explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import array, cells, digits, predict
from tests.integration.service.crowd import ask_together
from tests.integration.service.test_sharing import metric

Outcome = pb.PredictResponse | tuple[grpc.StatusCode, str]


def request_of(random: Random) -> pb.PredictRequest:
    """Makes a request about inputs that are no other's; some are wrong."""
    model = random.choice(["cells", "cells", "digits"])
    rows = random.choice([1, 1, 1, 2, 5, 17])
    inputs = (cells if model == "cells" else digits)(rows, random.getrandbits(32))
    fault = random.random()
    if fault < 0.02:
        inputs[-1].flat[3] = math.nan
    elif fault < 0.04:
        inputs[0].flat[0] = math.inf
    asked = predict(inputs, model)
    if random.random() < 0.3:
        asked.max_labels = random.choice([1, 2, 7])
    if fault > 0.98:
        asked.inputs[0].data = asked.inputs[0].data[:-4]
    return asked


async def ask(server: Server, requests: Sequence[pb.PredictRequest], clients: int) -> list[Outcome]:
    return await ask_together(server, "Predict", requests, clients)


def assert_same(one: Outcome, other: Outcome) -> None:
    if isinstance(one, tuple) or isinstance(other, tuple):
        assert one == other
        return
    assert (one.model, one.warnings) == (other.model, other.warnings)
    for x, y in zip(one.outputs, other.outputs, strict=True):
        assert (x.name, x.datatype, x.shape) == (y.name, y.datatype, y.shape)
        np.testing.assert_allclose(array(y), array(x), rtol=1e-4, atol=1e-5)
    for a, b in zip(one.predictions, other.predictions, strict=True):
        assert a.example == b.example
        assert [(each.index, each.label) for each in a.labels] == [
            (each.index, each.label) for each in b.labels
        ]
        for name in ("score", "probability"):
            found = [[getattr(label, name) for label in each.labels] for each in (a, b)]
            np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


# Requests meet in batches only where the server and its callers run side by side.
@pytest.mark.alone
def test_a_thousand_predictions_that_come_together_are_those_that_they_are_alone(
    server: Server,
) -> None:
    random = Random(21)
    requests = [request_of(random) for _ in range(1000)]
    batches = metric(server, "adcaptum_batch_requests_count")
    shared = metric(server, "adcaptum_batch_requests_sum")
    together = asyncio.run(ask(server, requests, clients=48))
    assert metric(server, "adcaptum_batch_requests_sum") - shared > 1.5 * (
        metric(server, "adcaptum_batch_requests_count") - batches
    )
    alone = asyncio.run(ask(server, requests, clients=1))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
    assert any(isinstance(each, tuple) for each in alone), "there are bad requests among them"


def test_each_prediction_has_its_own_id_and_deadline(
    server: Server, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    async def mixed() -> tuple[list[str], set[grpc.StatusCode]]:
        ids, codes = list[str](), set[grpc.StatusCode]()

        async def call(number: int) -> None:
            late = number % 3 == 0
            try:
                found = await stub.Predict(
                    predict(cells(1, number)),
                    metadata=(("x-request-id", f"own-{number}"),),
                    timeout=1e-4 if late else None,
                )
                ids.append(found.request_id)
            except grpc.aio.AioRpcError as error:
                assert late
                codes.add(error.code())

        async with grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = ExplanationServiceStub(channel)
            for _ in range(3):
                await asyncio.gather(*map(call, range(48)))
        return ids, codes

    ids, codes = asyncio.run(mixed())
    wanted = {f"own-{number}" for number in range(48) if number % 3}
    assert wanted <= set(ids)
    assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED}
    eventually(lambda: metric(server, "adcaptum_requests_in_flight", rpc="Predict") == 0)
