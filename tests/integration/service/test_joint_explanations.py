"""Requests that ask the same are explained jointly, and none can tell."""

import asyncio
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import grpc
import numpy as np

from adcaptum.v1 import explain_spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import array, cells, digits, explain, index, method
from tests.integration.service.test_sharing import metric

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("saliency", {}),
    ("saliency", {"abs": False}),
    ("input_x_gradient", {}),
    ("integrated_gradients", {"n_steps": 11}),
    ("integrated_gradients", {"n_steps": 5}),
    ("gradient_shap", {"n_samples": 6}),
    ("expected_gradients", {"n_samples": 6}),
    ("smooth_grad", {"n_samples": 7}),
    ("deep_lift", {}),
    ("feature_ablation", {}),
    ("kernel_shap", {"n_samples": 70}),
    ("guided_backprop", {}),
    ("lrp", {}),
    ("random_masks", {}),
]
Outcome = pb.ExplainResponse | tuple[grpc.StatusCode, str]


def request_of(random: Random) -> pb.ExplainRequest:
    """Makes a request for one of a few questions, about inputs that are no other's."""
    model = random.choice(["cells", "digits"])
    rows = random.choice([1, 1, 1, 2, 3])
    name, params = random.choice(KINDS[:-1])
    inputs = (cells if model == "cells" else digits)(rows, random.getrandbits(32))
    fault = random.random()
    if fault < 0.02:
        inputs[-1].flat[3] = math.nan
    classes = 2 if model == "cells" else 10
    if fault > 0.98:
        classes = 100
    target = random.choice(
        [
            None,
            index(random.randrange(classes)),
            index(*[random.randrange(classes) for _ in range(rows)]),
            explain_spec_pb2.Target(label="malignant" if model == "cells" else "7"),
        ]
    )
    asked = explain(
        inputs,
        method(name, **params),
        model=model,
        target=target,
        seed=random.choice([0, 7]),
        cache=random.choice([pb.CACHE_POLICY_BYPASS, pb.CACHE_POLICY_USE]),
    )
    if random.random() < 0.3:
        asked.spec.output.CopyFrom(
            random.choice(
                [
                    explain_spec_pb2.OutputOptions(max_features=4),
                    explain_spec_pb2.OutputOptions(datatype="FP64", return_inputs=True),
                    explain_spec_pb2.OutputOptions(
                        channel_reduction=explain_spec_pb2.CHANNEL_REDUCTION_SUM,
                        return_outputs=True,
                    ),
                    explain_spec_pb2.OutputOptions(return_predictions=True),
                ]
            )
        )
    if random.random() < 0.2:
        asked.spec.baselines.add(constant=random.choice([0.0, 0.5]))
    if fault < 0.01:
        asked.inputs[0].data = asked.inputs[0].data[:-4]
    return asked


async def ask(server: Server, requests: Sequence[pb.ExplainRequest], clients: int) -> list[Outcome]:
    """Asks with some clients at a time; returns the answers, or the errors, in order."""
    answers: dict[int, Outcome] = {}
    waiting = iter(enumerate(requests))
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = ExplanationServiceStub(channel)

        async def client() -> None:
            for number, request in waiting:
                try:
                    answers[number] = await stub.Explain(request)
                except grpc.aio.AioRpcError as error:
                    answers[number] = (error.code(), error.details() or "")

        await asyncio.gather(*[client() for _ in range(clients)])
    return [answers[number] for number in range(len(requests))]


def assert_same(one: Outcome, other: Outcome) -> None:
    if isinstance(one, tuple) or isinstance(other, tuple):
        assert one == other
        return
    assert (one.inputs, one.seed, one.warnings) == (other.inputs, other.seed, other.warnings)
    assert len(one.results) == len(other.results)
    for first, second in zip(one.results, other.results, strict=True):
        assert_same_result(first, second)
    for x, y in zip(one.outputs, other.outputs, strict=True):
        np.testing.assert_allclose(array(y), array(x), rtol=1e-4, atol=1e-5)


def assert_same_result(
    one: explanation_pb2.MethodResult, other: explanation_pb2.MethodResult
) -> None:
    assert one.method == other.method
    assert one.rows_used == other.rows_used
    assert one.stop_reason == other.stop_reason
    assert one.uncovered_ops == other.uncovered_ops
    assert one.non_finite == other.non_finite
    assert len(one.explanations) == len(other.explanations)
    for a, b in zip(one.explanations, other.explanations, strict=True):
        assert (a.example, a.target, a.index, a.label) == (b.example, b.target, b.index, b.label)
        assert a.stop_reason == b.stop_reason
        for name in ("completeness", "standard_error", "relative"):
            assert a.error.HasField(name) == b.error.HasField(name)
        for x, y in ((a.output, b.output), (a.baseline_output, b.baseline_output)):
            np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-5)
        # A residual of completeness is the rounding of differences between numbers of this size.
        size = 1 + abs(a.output) + abs(a.baseline_output)
        for x, y in (
            (a.error.completeness, b.error.completeness),
            (a.error.standard_error, b.error.standard_error),
        ):
            np.testing.assert_allclose(y, x, rtol=1e-2, atol=1e-4 * size)
        for u, v in zip(a.attributions, b.attributions, strict=True):
            assert (u.values.datatype, u.values.shape) == (v.values.datatype, v.values.shape)
            largest = np.abs(array(u.values)).max()
            if u.indices:
                continue
            np.testing.assert_allclose(
                array(v.values), array(u.values), rtol=1e-3, atol=1e-4 * largest
            )


def test_a_thousand_requests_that_come_together_have_the_answers_that_they_have_alone(
    server: Server,
) -> None:
    random = Random(20)
    requests = [request_of(random) for _ in range(1000)]
    batches = metric(server, "adcaptum_batch_requests_count")
    shared = metric(server, "adcaptum_batch_requests_sum")
    together = asyncio.run(ask(server, requests, clients=48))
    assert metric(server, "adcaptum_batch_requests_sum") - shared > 1.5 * (
        metric(server, "adcaptum_batch_requests_count") - batches
    )
    for request in requests:
        request.cache = pb.CACHE_POLICY_BYPASS
    alone = asyncio.run(ask(server, requests, clients=1))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
    assert any(isinstance(each, tuple) for each in alone), "there are bad requests among them"
