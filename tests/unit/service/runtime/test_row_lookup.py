"""Rows that are not evaluated, because what the model says of them is known or on its way."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import Evaluation, Site
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.errors import Cancelled
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.output_cache import OutputCache
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.row_lookup import RowLookup
from adcaptum.service.runtime.work import PlannedFlow, Work
from tests.unit.service.tiny_model import served

METHODS_WITH_ENDS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"n_steps": 7},
    "feature_ablation": {},
    "kernel_shap": {},
    "shapley_values": {},
    "shapley_value_sampling": {"n_samples": 4},
    "occlusion": {"sliding_window_shapes": (1,)},
    "gradient_shap": {"n_samples": 3},
    "rise": {"n_samples": 6},
}


class Stages:
    """Runs flows side by side, then others."""

    def __init__(self, *stages: Sequence[Flow[Any]]) -> None:
        self._stages = list(stages)

    def first(self) -> Sequence[PlannedFlow]:
        return [PlannedFlow(flow) for flow in self._stages.pop(0)]

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return self.first() if self._stages else ()


class Engine:
    """An engine loop, what it counts, and a model."""

    def __init__(self, threads: int) -> None:
        self.crashes: list[BaseException] = []
        self.metrics = Metrics()
        self.model, self.module = served()
        self.loop = EngineRunner(
            asyncio.get_running_loop(),
            torch.device("cpu"),
            self.metrics,
            target_batch_seconds=0.025,
            crashed=self.crashes.append,
            threaded=threads > 0,
        )
        self.loop.start(threads, 1)

    def submit(
        self,
        *stages: Sequence[Flow[Any]],
        known: OutputCache | None = None,
        row_seconds: float = 1.0,
        **options: Any,
    ) -> Work:
        """Has flows done by stages, with rows that are worth being looked for among others."""
        known = self.model.known if known is None else known
        given = {"recall": RowLookup(self.model, known, row_seconds), **options}
        made = asyncio.get_running_loop().create_future()
        work = Work(self.model, Stages(*stages), finished=made, arrival=monotonic(), **given)
        self.loop.submit(work)
        return work

    async def do(self, *stages: Sequence[Flow[Any]], **options: Any) -> list[Any]:
        """Returns what flows that run side by side say."""
        work = self.submit(*stages, **options)
        await work.finished
        assert work.error is None
        return work.results

    @property
    def rows(self) -> int:
        """How many rows the model was given since this was asked last."""
        rows = sum(self.module.batches)
        self.module.batches.clear()
        return rows


@pytest.fixture(params=[0, 1, 2], ids=["in the event loop", "one thread", "two threads"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    made = Engine(request.param)
    yield made
    await asyncio.to_thread(made.loop.stop)
    assert made.crashes == []


def outputs(rows: Tensor) -> Flow[Any]:
    return ask(Evaluation(Given((rows,))))


def question(rows: int = 1, seed: int = 0, target: Any = 1, **fields: Any) -> Explicand:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 3, generator=generator)
    return Explicand.of(inputs, target=target, baselines=0.5, **fields)


def flow(name: str, asked: Explicand) -> Flow[Attribution]:
    return resolve(METHODS[name], METHODS_WITH_ENDS.get(name, {})).flow(asked)


def alone(engine: Engine, name: str, asked: Explicand) -> Attribution:
    answer = explain(engine.module, resolve(METHODS[name], METHODS_WITH_ENDS.get(name, {})), asked)
    engine.module.batches.clear()
    return answer


def assert_same(found: Attribution, expected: Attribution) -> None:
    for one, other in zip(found.values, expected.values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    for name in ("output", "baseline_output"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


async def test_an_evaluation_whose_rows_are_known_takes_no_batch(engine: Engine) -> None:
    rows = torch.randn(3, 3)
    (first,) = await engine.do([outputs(rows)])
    assert engine.rows == 3
    work = engine.submit([outputs(rows[:2])])
    await work.finished
    assert torch.equal(work.results[0].values, first.values[:2])
    assert (engine.rows, work.batches, work.rows_done) == (0, 0, 0)
    assert engine.metrics.known_rows.labels("tiny")._value.get() == 2


async def test_only_rows_that_are_not_known_are_evaluated(engine: Engine) -> None:
    rows = torch.randn(5, 3)
    (expected,) = await engine.do([outputs(rows)], recall=None)
    await engine.do([outputs(rows[[1, 3]])])
    assert engine.rows == 7
    (found,) = await engine.do([outputs(rows)])
    assert engine.rows == 3
    torch.testing.assert_close(found.values, expected.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", METHODS_WITH_ENDS)
async def test_what_is_known_changes_no_answer(engine: Engine, name: str) -> None:
    asked = question(2, target=[1, 0])
    expected = alone(engine, name, asked)
    (first,) = await engine.do([flow(name, asked)])
    assert engine.rows == first.rows_used == expected.rows_used
    (again,) = await engine.do([flow(name, asked)])
    assert engine.rows == again.rows_used < first.rows_used
    for found in (first, again):
        assert_same(found, expected)


@pytest.mark.parametrize("name", ["saliency", "deep_lift", "guided_backprop"])
async def test_rows_of_which_more_is_wanted_are_evaluated(engine: Engine, name: str) -> None:
    asked = question(2)
    await engine.do([outputs(asked.inputs[0])])
    expected = alone(engine, name, asked)
    (found,) = await engine.do([flow(name, asked)])
    assert found.rows_used == expected.rows_used
    assert_same(found, expected)


async def test_every_target_is_served_by_raw_outputs(engine: Engine) -> None:
    asked = question(2)
    await engine.do([outputs(asked.inputs[0]), outputs(torch.full((1, 3), 0.5))])
    engine.module.batches.clear()
    for target in (0, 1, [1, 0]):
        about = question(2, target=target)
        (found,) = await engine.do([flow("integrated_gradients", about)])
        assert engine.rows == found.rows_used == 2 * 7
        assert_same(found, alone(engine, "integrated_gradients", about))


async def test_one_output_serves_whoever_wants_that_one(engine: Engine) -> None:
    await engine.do([flow("integrated_gradients", question(seed=1))])
    (same,) = await engine.do([flow("integrated_gradients", question(seed=2))])
    # The baseline's is known, the input's is not.
    assert same.rows_used == 7 + 1
    (other,) = await engine.do([flow("integrated_gradients", question(seed=2, target=0))])
    assert other.rows_used == 7 + 2


async def test_flows_side_by_side_share_their_rows(engine: Engine) -> None:
    asked = question(2)
    names = ["integrated_gradients", "feature_ablation", "shapley_values", "saliency"]
    expected = [alone(engine, name, asked) for name in names]
    flows = [outputs(asked.inputs[0]), *(flow(name, asked) for name in names)]
    told, *found = await engine.do(flows, known=OutputCache())
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
    torch.testing.assert_close(told.values[:, 1], found[-1].output)
    # The input's outputs once; the baseline's in the first that wants them.
    assert [each.rows_used for each in found] == [2 * 8, 2 * 3, 2 * 6, 2]
    assert engine.rows == 2 + sum(each.rows_used for each in found)


async def test_equal_rows_of_one_flow_are_nobody_elses(engine: Engine) -> None:
    rows = torch.ones(2, 3)
    (found,) = await engine.do([outputs(rows)])
    assert engine.rows == 2
    assert torch.equal(found.values[0], found.values[1])


async def test_a_stage_knows_what_the_one_before_has_told(engine: Engine) -> None:
    rows = torch.randn(2, 3)
    (second,) = await engine.do([outputs(rows)], [outputs(rows[:1])])
    assert engine.rows == 2
    assert second.values.shape == (1, 2)


async def test_a_deterministic_work_has_every_row_evaluated(engine: Engine) -> None:
    rows = torch.randn(2, 3)
    for _ in range(2):
        await engine.do([outputs(rows)], deterministic=True)
        assert engine.rows == 2
    assert not len(engine.model.known)


async def test_a_work_may_leave_no_trace(engine: Engine) -> None:
    rows = torch.randn(2, 3)
    for _ in range(2):
        await engine.do([outputs(rows)], recall=None)
        assert engine.rows == 2
    assert not len(engine.model.known)


async def test_nothing_inside_the_model_is_taken_for_its_output(engine: Engine) -> None:
    rows = torch.randn(2, 3)
    await engine.do([outputs(rows)])
    read = Evaluation(Given((rows,)), read=Site("", "output"))
    await engine.do([ask(read)])
    assert engine.rows == 4


async def test_cheap_rows_are_not_looked_for_among_others(engine: Engine) -> None:
    asked = question()
    for _ in range(2):
        (found,) = await engine.do([flow("integrated_gradients", asked)], row_seconds=1e-7)
        assert found.rows_used == 7 + 2
    assert not len(engine.model.known)


async def test_a_failed_evaluation_teaches_nothing(engine: Engine) -> None:
    def watch(rows: Tensor) -> None:
        raise ArithmeticError("pretended")

    rows = torch.randn(2, 3)
    engine.module.watch = watch
    work = engine.submit([outputs(rows), flow("feature_ablation", Explicand.of(rows, target=0))])
    await work.finished
    assert isinstance(work.error, ArithmeticError)
    engine.module.watch = lambda _: None
    (found,) = await engine.do([outputs(rows)])
    expected = torch.nn.functional.linear(rows, engine.module.weight) ** 2
    torch.testing.assert_close(found.values, expected)


async def test_whatever_fails_or_goes_away_others_get_the_right_answers(engine: Engine) -> None:
    def watch(rows: Tensor) -> None:
        if bool((rows[:, 0] > 100).any()):
            raise ArithmeticError("too large")

    chance = random.Random(0)
    names = list(METHODS_WITH_ENDS)
    questions = [question(1 + seed % 3, seed) for seed in range(4)]
    expected = {
        (name, i): alone(engine, name, q) for name in names for i, q in enumerate(questions)
    }
    engine.module.watch = watch
    under_way = []
    for _ in range(60):
        fate = chance.choice(["answered", "answered", "cancelled", "raising"])
        which = chance.randrange(4)
        chosen = chance.sample(names, 3)
        asked = questions[which]
        flows = [outputs(asked.inputs[0]), *(flow(name, asked) for name in chosen)]
        if fate == "raising":
            flows.append(outputs(torch.full((1, 3), 1000.0)))
        work = engine.submit(flows)
        if fate == "cancelled":
            engine.loop.cancel(work, "cancelled")
        under_way.append((fate, which, chosen, work))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    for fate, which, chosen, work in under_way:
        await work.finished
        if fate == "answered":
            assert work.error is None
            for name, found in zip(chosen, work.results[1:], strict=True):
                assert_same(found, expected[name, which])
        elif fate == "raising":
            assert isinstance(work.error, ArithmeticError)
        else:
            assert work.error is None or isinstance(work.error, Cancelled)
    ledger = engine.loop.scheduler.ledger
    assert engine.loop.waiting_rows == 0
    assert (ledger.total.requests, ledger.total.rows) == (0, 0)
    assert [each.expected_rows for each in ledger.backlogs] == [0, 0, 0]
