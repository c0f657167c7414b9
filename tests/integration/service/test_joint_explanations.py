"""Requests that ask the same are explained jointly, and none can tell."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import grpc
import numpy as np
import pytest

from adcaptum.v1 import explain_spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service import stuck_models
from tests.integration.service.asking import array, cells, digits, explain, index, method
from tests.integration.service.crowd import ask_together
from tests.integration.service.test_sharing import metric

pytestmark = pytest.mark.alone

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
    ("kernel_shap", {"n_samples": 300}),
    ("kernel_shap", {}),
    ("leverage_shap", {"n_samples": 400}),
    ("lime", {"n_samples": 400}),
    ("shapley_value_sampling", {"n_samples": 5}),
    ("gradient_shap", {}),
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
    return await ask_together(server, "Explain", requests, clients)


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
    assert metric(server, "adcaptum_batch_requests_sum") - shared > 1.1 * (
        metric(server, "adcaptum_batch_requests_count") - batches
    )
    for request in requests:
        request.cache = pb.CACHE_POLICY_BYPASS
    alone = asyncio.run(ask(server, requests, clients=1))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
    assert any(isinstance(each, tuple) for each in alone), "there are bad requests among them"


def saliency(seed: int, **fields: Any) -> pb.ExplainRequest:
    bypass = pb.CACHE_POLICY_BYPASS
    return explain(cells(1, seed), method("saliency"), target=index(1), cache=bypass, **fields)


def values(answer: Outcome) -> Any:
    assert not isinstance(answer, tuple), answer
    return array(answer.results[0].explanations[0].attributions[0].values)


def test_identical_requests_are_one_member_of_a_joint_explanation(server: Server) -> None:
    request = explain(cells(1, 4711), method("integrated_gradients", n_steps=7), target=index(1))
    answers = asyncio.run(ask(server, [request] * 40, clients=40))
    found = [each.cache for each in answers if isinstance(each, pb.ExplainResponse)]
    assert len(found) == 40
    assert found.count(explanation_pb2.CACHE_STATUS_MISS) == 1
    for answer in answers:
        np.testing.assert_array_equal(values(answer), values(answers[0]))


def test_callers_share_turns_and_each_has_its_own_id(server: Server) -> None:
    async def all_at_once() -> list[str]:
        ids = []

        async def call(number: int) -> None:
            metadata = (("x-caller-id", f"caller-{number}"), ("x-request-id", f"own-{number}"))
            ids.append((await stub.Explain(saliency(number), metadata=metadata)).request_id)

        async with grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = ExplanationServiceStub(channel)
            for _ in range(4):
                await asyncio.gather(*map(call, range(64)))
        return ids

    batches = metric(server, "adcaptum_batch_requests_count", model="cells")
    requests = metric(server, "adcaptum_batch_requests_sum", model="cells")
    ids = asyncio.run(all_at_once())
    assert sorted(ids) == sorted([f"own-{number}" for number in range(64)] * 4)
    batches = metric(server, "adcaptum_batch_requests_count", model="cells") - batches
    requests = metric(server, "adcaptum_batch_requests_sum", model="cells") - requests
    assert requests == 256
    assert batches < 128


def test_those_that_leave_or_come_too_late_cost_the_others_nothing(
    server: Server, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    async def mixed() -> tuple[list[Outcome], list[BaseException]]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = ExplanationServiceStub(channel)
            staying = [stub.Explain(saliency(number)) for number in range(0, 60, 3)]
            leaving = [stub.Explain(saliency(number)) for number in range(1, 60, 3)]
            late = [stub.Explain(saliency(number), timeout=1e-4) for number in range(2, 60, 3)]
            await asyncio.sleep(0.002)
            for call in leaving:
                call.cancel()
            answers = await asyncio.gather(*staying)
            errors = await asyncio.gather(*late, return_exceptions=True)
            await asyncio.gather(*leaving, return_exceptions=True)
            return answers, errors

    answers, errors = asyncio.run(mixed())
    alone = asyncio.run(ask(server, [saliency(number) for number in range(0, 60, 3)], clients=1))
    for one, other in zip(alone, answers, strict=True):
        np.testing.assert_allclose(values(other), values(one), rtol=1e-4, atol=1e-6)
    codes = {error.code() for error in errors if isinstance(error, grpc.aio.AioRpcError)}
    assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED}
    eventually(lambda: metric(server, "adcaptum_requests_in_flight", rpc="Explain") == 0)


def test_a_model_that_fails_for_one_of_them_fails_that_one_alone(
    start_server: Start, tmp_path: Path
) -> None:
    environment = stuck_models.folder(tmp_path, picky="light")
    server = start_server(tmp_path / "models", **environment)
    stuck_models.tell(tmp_path, "picky", "interrupt")
    inputs = [cells(1, number) for number in range(48)]
    for number in range(0, 48, 16):
        inputs[number][0, 0] = 2000
    requests = [
        explain(
            each, method("saliency"), model="picky", target=index(1), cache=pb.CACHE_POLICY_BYPASS
        )
        for each in inputs
    ]
    answers = asyncio.run(ask(server, requests, clients=48))
    failed = [number for number, each in enumerate(answers) if isinstance(each, tuple)]
    assert failed == [0, 16, 32]


def test_limits_of_a_caller_count_the_members_of_joint_explanations(
    start_server: Start, repository: Path
) -> None:
    server = start_server(repository, "--max_caller_requests", "2")
    requests = [saliency(number) for number in range(64)]
    answers = asyncio.run(ask(server, requests, clients=64))
    refused = [each for each in answers if isinstance(each, tuple)]
    assert len(refused) < 64
    assert {code for code, _ in refused} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert metric(server, "adcaptum_queue_rows") == 0
