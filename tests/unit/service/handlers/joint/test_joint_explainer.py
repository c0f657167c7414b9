"""Requests that are too much for the event loop, joined in device threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Hashable, Mapping
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import Reason, Unavailable
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint import busy_rule
from adcaptum.service.handlers.joint.joint_explainer import JointExplainer
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.cores import Threads
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb
from tests.unit.service.asking import explain, index, method
from tests.unit.service.tiny_model import served, tokens

ROW_SECONDS = {"forward": {1: 1e-3}, "gradient": {1: 1e-3}}


class Recording(Dispatcher):
    """A dispatcher that records how many requests each joint work in device threads has."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.joined: list[dict[Hashable, int]] = []

    def submit_to_threads(self, work: Work, callers: Mapping[Hashable, int]) -> None:
        self.joined.append(dict(callers))
        super().submit_to_threads(work, callers)


class Service:
    """A model in device threads, each batch of which waits until `go` is released once."""

    def __init__(self, engines: Recording, metrics: Metrics) -> None:
        self.engines = engines
        self.model, module = served()
        engines.add(self.model, ROW_SECONDS)
        self.go = threading.Semaphore(0)
        module.watch = self._wait
        self._questions = ResolvedQuestions()
        answers = ResponseCache(0, 0, metrics)
        self.explainer = JointExplainer(engines, RequestMetrics(metrics), answers)

    def _wait(self, rows: Tensor) -> None:
        assert self.go.acquire(timeout=20), f"nobody lets {len(rows)} rows go on"

    def ask(self, number: float, caller: str = "a", **about: Any) -> asyncio.Task[bytes | None]:
        values = np.array([[number, 1, 2]], np.float32)
        request = explain(values, methods=[method("saliency")], targets=[index(1)])
        question = self._questions.of(request, self.model)
        call = Call(f"{caller}-{number}", monotonic(), None, caller, 100)
        asked = IdentifiedRequest(
            request, self.model, question, None, call, about.pop("priority", Priority.INTERACTIVE)
        )
        return asyncio.create_task(self.explainer.explain(asked))


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(busy_rule, "MOST_SECONDS", 60.0)
    crashes = list[BaseException]()
    metrics, loop = Metrics(), asyncio.get_running_loop()
    engines = Recording(
        loop, torch.device("cpu"), metrics, target_batch_seconds=0.025, crashed=crashes.append
    )
    engines.start(Threads(1, 1))
    made = Service(engines, metrics)
    yield made
    made.go.release(100)
    await engines.stop(20.0)
    assert not crashes


def values(answer: bytes | None) -> list[float]:
    assert answer is not None, "it was joined"
    data = pb.ExplainResponse.FromString(answer).results[0].explanations[0].attributions[0].values
    return np.frombuffer(data.data, np.float32).tolist()


def expected(number: float) -> list[float]:
    # The tiny model's second output is the square of 3 x + 4 y + 5 z.
    whole = 3 * number + 4 * 1 + 5 * 2
    return [abs(2 * whole * weight) for weight in (3.0, 4.0, 5.0)]


async def test_those_that_come_while_a_work_runs_are_the_next_work(service: Service) -> None:
    tasks = [service.ask(number) for number in range(8)]
    await asyncio.sleep(0)
    assert service.engines.joined == [{"a": 1}]
    service.go.release(100)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*tasks)
    assert service.engines.joined == [{"a": 1}, {"a": 7}]
    for number, answer in enumerate(answers):
        assert values(answer) == pytest.approx(expected(number), rel=1e-5)
        assert pb.ExplainResponse.FromString(answer or b"").request_id == f"a-{number}"


async def test_a_caller_and_a_class_for_which_nothing_runs_begin_at_once(service: Service) -> None:
    tasks = [service.ask(0), service.ask(1)]
    await asyncio.sleep(0)
    tasks.append(service.ask(2, priority=Priority.BATCH))
    await asyncio.sleep(0)
    tasks.append(service.ask(3, caller="b"))
    await asyncio.sleep(0)
    assert [{**each} for each in service.engines.joined] == [{"a": 1}, {"a": 1}, {"a": 1}, {"b": 1}]
    service.go.release(100)
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)


async def test_one_that_is_wrong_runs_apart_and_the_others_do_not(service: Service) -> None:
    tasks = [service.ask(number) for number in (0, 1, float("nan"), 3, 4)]
    await asyncio.sleep(0)
    service.go.release(100)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*tasks)
    assert [answer is None for answer in answers] == [False, False, True, False, False]
    assert values(answers[4]) == pytest.approx(expected(4), rel=1e-5)


async def test_a_model_that_answers_nobody_fails_all_members_once(service: Service) -> None:
    tasks = [service.ask(number) for number in range(4)]
    await asyncio.sleep(0)
    service.go.release()
    async with asyncio.timeout(20):
        assert await tasks[0] is not None
        stuck = Unavailable("it is stuck", reason=Reason.MODEL_STUCK)
        service.engines._threads_lane.fail_model(service.model, stuck)
        service.go.release(100)
        found = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable] * 3
    assert service.engines.joined == [{"a": 1}, {"a": 3}]


async def test_callers_share_short_works_alone(service: Service) -> None:
    service.engines.add(service.model, {"forward": {1: 5e-3}, "gradient": {1: 5e-3}})
    tasks = [service.ask(number) for number in range(9)]
    tasks += [service.ask(number, caller="b") for number in range(9, 11)]
    await asyncio.sleep(0)
    service.go.release(100)
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)
    assert [sum(each.values()) for each in service.engines.joined if len(each) > 1] == []
    assert {"a": 8} in service.engines.joined


ASKED = {
    "saliency": {},
    "integrated_gradients": {"n_steps": 9},
    "gradient_shap": {"n_samples": 20},
    "smooth_grad": {"n_samples": 5},
    "feature_ablation": {},
    "kernel_shap": {"n_samples": 100},
    "lime": {"n_samples": 60},
}


async def test_token_ids_are_explained_jointly_at_their_embeddings(service: Service) -> None:
    """Each number, and each draw, is the one that the request has alone."""
    service.go.release(10_000)
    model = tokens()
    service.engines.add(model, ROW_SECONDS)
    questions = ResolvedQuestions()
    random = np.random.default_rng(3)

    def asked(name: str, length: int, number: int) -> IdentifiedRequest:
        ids = random.integers(0, 11, (1, length))
        request = explain(
            ids, methods=[method(name, **ASKED[name])], targets=[index(number % 2)], seed=5
        )
        question = questions.of(request, model)
        call = Call(f"{number}", monotonic(), None, "a", 100)
        return IdentifiedRequest(request, model, question, None, call, Priority.INTERACTIVE)

    requests = [asked(name, length, n) for n in range(6) for name in ASKED for length in (4, 7)]
    async with asyncio.timeout(60):
        alone = [await service.explainer.explain(each) for each in requests]
        before = len(service.engines.joined)
        together = await asyncio.gather(*map(service.explainer.explain, requests))
    assert len(service.engines.joined) - before < len(requests) / 2
    for one, other in zip(alone, together, strict=True):
        first, second = (
            pb.ExplainResponse.FromString(each or b"").results[0] for each in (one, other)
        )
        assert first.rows_used == second.rows_used
        pairs = zip(first.explanations, second.explanations, strict=True)
        for a, b in pairs:
            x, y = (np.frombuffer(each.attributions[0].values.data, np.float32) for each in (a, b))
            assert x.size
            assert a.index == b.index
            np.testing.assert_allclose(y, x, rtol=1e-3, atol=1e-5 * max(1e-3, np.abs(x).max()))
