"""Parts of a work: one fails without the others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.errors import InvalidRequest, ModelRaised
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.shared_computation import SharedComputation
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.loop_runner import LoopRunner
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import every, index, method
from tests.unit.service.tiny_model import Watched, served
from tests.unit.service.works import cost, running, stop


@pytest.fixture(params=[0, 1, 2], ids=["in the event loop", "one thread", "two threads"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[EngineRunner]:
    crashes: list[BaseException] = []
    runner = running(request.param, crashes.append)
    yield runner
    await stop(runner)
    assert crashes == []


@pytest.fixture
def model() -> tuple[ServedModel, Watched]:
    return served()


def reading(model: ServedModel, *names: str, **fields: Any) -> ParsedRequest:
    methods = [method(name) for name in names]
    fields.setdefault("targets", [index(1)])
    request = asking.explain(np.ones((2, 3), np.float32), methods=methods, **fields)
    return asking.read(request, model)


def explaining(
    model: ServedModel, *names: str, apart: bool = False, **fields: Any
) -> tuple[ExplanationPlan, Work]:
    plan = ExplanationPlan(reading(model, *names, **fields))
    finished = asyncio.get_running_loop().create_future()
    expected = cost(planning_seconds=1.0 if apart else 0.0)
    return plan, Work(model, plan, expected, finished=finished, arrival=monotonic())


async def outcome(engine: EngineRunner, plan: ExplanationPlan, one: Work) -> Outcome:
    engine.submit(one)
    await one.finished
    assert one.error is None
    return plan.outcome(one.results)


def refuse_zeros(rows: Tensor) -> None:
    if bool((rows == 0).any()):
        raise ArithmeticError("a zero")


@pytest.mark.parametrize("apart", [False, True], ids=["beside batches", "apart"])
async def test_a_method_on_whose_rows_the_model_raises_fails_alone(
    engine: EngineRunner, model: tuple[ServedModel, Watched], apart: bool
) -> None:
    if apart and isinstance(engine, LoopRunner):
        pytest.skip("the event loop runs no works whose methods compute for long")
    model[1].watch = refuse_zeros
    names = ("feature_ablation", "saliency", "shapley_values", "input_x_gradient")
    plan, one = explaining(model[0], *names, apart=apart)
    found = await outcome(engine, plan, one)
    assert sorted(found.failures) == [0, 2]
    assert {piece.method for piece, _ in found.attributions} == {1, 3}
    for failure in found.failures.values():
        assert isinstance(failure.error, ModelRaised)
        assert isinstance(failure.error.__cause__, ArithmeticError)
        assert failure.rows_used > 0


async def test_methods_that_share_a_batch_with_a_culprit_are_told_from_it(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    """Both methods ask for forward rows, which come in one batch; only one asks for two ones."""

    def refuse(rows: Tensor) -> None:
        if bool((rows == 1).sum(1).eq(2).any()):
            raise ArithmeticError("two ones")

    model[1].watch = refuse
    activation = explain_spec_pb2.FeatureMask(tensor=asking.tensor(np.array([[0, 0, 0]])))
    plan, one = explaining(model[0], "occlusion", "feature_ablation", feature_masks=[activation])
    found = await outcome(engine, plan, one)
    assert list(found.failures) == [0]
    assert [piece.method for piece, _ in found.attributions] == [1]


async def test_all_targets_of_a_method_fail_together(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    model[1].watch = refuse_zeros
    plan, one = explaining(model[0], "feature_ablation", "saliency", targets=[every()])
    found = await outcome(engine, plan, one)
    assert list(found.failures) == [0]
    assert [piece.target for piece, _ in found.attributions] == [0, 1]


async def test_a_work_of_which_every_part_fails_has_the_error_of_the_first(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def refuse(rows: Tensor) -> None:
        raise ArithmeticError("never")

    model[1].watch = refuse
    shown = explain_spec_pb2.OutputOptions(return_predictions=False)
    _, one = explaining(model[0], "saliency", "feature_ablation", output=shown)
    engine.submit(one)
    await one.finished
    assert isinstance(one.error, ModelRaised)
    assert isinstance(one.culprit, Piece)
    assert one.culprit.method == 0


async def test_a_method_that_has_too_few_rows_fails_alone(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    budget = explain_spec_pb2.Budget(max_rows=40)
    plan, one = explaining(model[0], "integrated_gradients", "saliency", budget=budget)
    found = await outcome(engine, plan, one)
    assert list(found.failures) == [0]
    assert isinstance(found.failures[0].error, InvalidRequest)
    assert found.failures[0].error.reason == "BUDGET_TOO_SMALL"


async def test_what_is_wrong_in_the_request_fails_all_of_it(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def refuse(rows: Tensor) -> None:
        if not rows.requires_grad:
            raise InvalidArgument("inputs[0]", 3, "less")

    model[1].watch = refuse
    _, one = explaining(model[0], "saliency", "feature_ablation")
    engine.submit(one)
    await one.finished
    assert isinstance(one.error, InvalidArgument)


async def test_waiting_rows_of_a_failed_part_are_not_evaluated(
    model: tuple[ServedModel, Watched],
) -> None:
    """A row a batch: both targets of the method have theirs in the queue when the first fails."""
    crashes: list[BaseException] = []
    engine = running(0, crashes.append)
    refused: list[int] = []

    def refuse(rows: Tensor) -> None:
        if bool((rows == 0).any()):
            refused.append(len(rows))
            raise ArithmeticError("a zero")

    model[1].watch = refuse
    alone = replace(model[0], checks=replace(model[0].checks, independent=False))
    plan, one = explaining(alone, "feature_ablation", "saliency", targets=[every()])
    found = await outcome(engine, plan, one)
    assert list(found.failures) == [0]
    assert refused == [1]
    await stop(engine)
    assert crashes == []


async def test_a_budget_is_shared_evenly_and_what_one_does_not_need_the_others_have(
    model: tuple[ServedModel, Watched],
) -> None:
    names = ("integrated_gradients", "saliency", "kernel_shap")
    budget = explain_spec_pb2.Budget(max_rows=60)
    plan, _ = explaining(model[0], *names, budget=budget)
    shares = [each.max_rows for each in plan.first() if each.part is not None]
    # Saliency needs a row for each of the two examples, kernel SHAP few of three features.
    assert shares[1] == 2
    assert sum(each or 0 for each in shares) <= 60
    assert min(each or 0 for each in (shares[0], shares[2])) >= 10


@pytest.mark.parametrize("budget", [200, 1000, 10_000, 300_000, 1_000_000])
async def test_a_method_of_few_rows_is_left_some_beside_one_of_many(
    model: tuple[ServedModel, Watched], budget: int
) -> None:
    """Smooth grad may take 262,144 rows to this tolerance, integrated gradients some dozens."""
    declaration = replace(model[0].loaded.declaration, max_rows=1_000_000)
    large = replace(model[0], loaded=replace(model[0].loaded, declaration=declaration))
    asked = explain_spec_pb2.Budget(max_rows=budget, tolerance=1e-3)
    read = reading(large, "integrated_gradients", "smooth_grad", budget=asked)
    plan = ExplanationPlan(read)
    few, many = [each.max_rows or 0 for each in plan.first() if each.part is not None]
    assert few + many <= budget
    assert few >= min(2 * read.rows(plan.pieces[0]), budget // 2)
    assert many >= budget // 2


async def test_expected_rows_that_fit_are_left_to_each_method(
    model: tuple[ServedModel, Watched],
) -> None:
    def asked(**budget: int) -> ParsedRequest:
        bound = explain_spec_pb2.Budget(tolerance=0.05, **budget)
        return reading(model[0], "integrated_gradients", "smooth_grad", budget=bound)

    read = asked()
    few, many = map(read.rows, read.pieces(None))
    for budget in (few + many, few + many + 7, 3 * (few + many), 50 * (few + many)):
        plan = ExplanationPlan(asked(max_rows=budget))
        shares = [each.max_rows or 0 for each in plan.first() if each.part is not None]
        assert sum(shares) <= budget
        assert shares[0] >= few
        assert shares[1] >= many


async def test_rows_that_a_deadline_finds_waiting_were_not_used(
    model: tuple[ServedModel, Watched],
) -> None:
    names = ("integrated_gradients", "saliency")
    plan, one = explaining(model[0], *names)
    read = reading(model[0], *names)
    computation = SharedComputation(
        read, plan, one, cancel=lambda *_: None, ended=lambda _: None, seconds=1.0
    )
    one.start()
    for flow in one.running:
        if isinstance(flow.about, Piece) and flow.about.method == 0:
            pending = flow.waiting[0]
            (part,) = evaluate(model[1], [RowRange(pending.evaluation, 0, 7)])
            pending.add(0, 7, part)
    failures = computation.best().failures
    assert [failures[method].rows_used for method in (0, 1)] == [7, 0]
    one.finished.cancel()
