"""Answers that are the same to the last bit, whatever shares the device."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Attribution, Explicand, Output, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.rows.reduce import Moments, WeightedSum
from adcaptum.engine.rows.sources import Given, Path
from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.engine.vocabulary.evaluation import FORWARD_BYTES, Evaluation, Patch
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import describe, resolve
from tests.models import cnn, mlp, numbers, signals

CASES = [
    pytest.param(name, shape, id=f"{name}-{shape}")
    for name in METHODS
    for shape in ("vector", "image")
]
# Quick forms: what they ask of the model is of the same kind as in the long forms.
FEW = {"n_steps": 11, "n_samples": 12, "max_evals": 20}
# They want several samples for each of 8 features.
MORE = {"kernel_shap": {"n_samples": 40}, "leverage_shap": {"n_samples": 40}}
# How far answers may be off that are not deterministic, relative to the largest value, in float32.
TOLERANCE = 1e-5
# Rows of a forward: so few that most evaluations have several.
ROWS = 8
QUADRANTS = (torch.arange(8)[:, None] // 4) * 2 + torch.arange(8)[None] // 4


def case(name: str, shape: str, *, seed: int = 0) -> tuple[nn.Module, Method, Explicand]:
    """A model in float32, a method, and three examples."""
    known = {parameter.name for parameter in describe(METHODS[name])}
    parameters = {key: few for key, few in FEW.items() if key in known} | MORE.get(name, {})
    method = resolve(METHODS[name], parameters)
    features = (8,) if shape == "vector" else (1, 8, 8)
    layer = method.traits.layer in {"required", "through"}
    vector = signals() if layer else mlp()
    x, x0 = numbers(3, *features, seed=seed).float(), numbers(3, *features, seed=seed + 1).float()
    explicand = Explicand(
        (x,),
        Output(torch.tensor([[0], [2], [1]])),
        (x0,),
        Site("2") if layer else INPUT,
        seed=seed,
        feature_mask=(QUADRANTS[None, None],) if shape == "image" and not layer else None,
    )
    return (vector if shape == "vector" else cnn()).float(), method, explicand


def tensors(attribution: Attribution) -> list[Tensor]:
    """All that an answer says."""
    found = [*attribution.values, *attribution.standard_errors]
    errors = (attribution.completeness_error, attribution.standard_error)
    optional = (*errors, attribution.output, attribution.baseline_output)
    return found + [t for t in optional if t is not None]


def assert_same_bits(a: Attribution, b: Attribution) -> None:
    for left, right in zip(tensors(a), tensors(b), strict=True):
        assert left.dtype == right.dtype
        assert left.numpy().tobytes() == right.numpy().tobytes()


class Crowd:
    """Flows that share the scheduler's batches, of which two are always under way."""

    def __init__(self, model: nn.Module, rows: int, chance: random.Random) -> None:
        self._model = model
        self._chance = chance
        self._scheduler: Scheduler[Pending] = Scheduler(BatchSizer(fixed=rows), quantum=5)
        self._executions: dict[Request, FlowRun[Attribution]] = {}

    def ask(self, execution: FlowRun[Attribution]) -> None:
        request = Request()
        self._executions[request] = execution
        self._add(request, execution.start())

    def run(self) -> None:
        running: list[Batch[Pending]] = []
        while True:
            while len(running) < 2 and (batch := self._scheduler.schedule(0.0)) is not None:
                running.append(batch)
            if not running:
                return
            self._end(running.pop(self._chance.randrange(len(running))))

    def _end(self, batch: Batch[Pending]) -> None:
        pieces = [RowRange(job.payload.evaluation, a, b) for job, a, b in batch.slices]
        for (job, start, stop), part in zip(
            batch.slices, evaluate(self._model, pieces), strict=True
        ):
            job.payload.add(start, stop, part)
        self._scheduler.update(batch, seconds=1.0)
        for request in batch.requests:
            execution = self._executions[request]
            if execution.pending and all(p.done == p.rows for p in execution.pending):
                self._add(request, execution.advance())

    def _add(self, request: Request, round_: tuple[Pending, ...]) -> None:
        jobs = [Job(p.evaluation.key, p.rows, p) for p in round_ if p.rows]
        self._scheduler.add(request, jobs)


def in_a_crowd(
    model: nn.Module, method: Method, explicand: Explicand, others: list[Explicand], seed: int
) -> Attribution:
    """The answer to a question that comes at any place among others."""
    chance = random.Random(seed)
    asked = FlowRun(method.flow(explicand), forward_rows=ROWS)
    every = [
        asked,
        *(FlowRun(method.flow(each), forward_rows=ROWS) for each in others),
        # Who does not want the same bits each time is evaluated with others.
        *(FlowRun(method.flow(each)) for each in others),
    ]
    chance.shuffle(every)
    crowd = Crowd(model, chance.choice([1, 3, 7, 50]), chance)
    for execution in every:
        crowd.ask(execution)
    crowd.run()
    return asked.result


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_crowd_changes_no_bit(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    others = [case(name, shape, seed=5)[2]]
    alone = explain(model, method, explicand, batch_rows=ROWS, deterministic=True)
    assert_same_bits(explain(model, method, explicand, batch_rows=ROWS, deterministic=True), alone)
    for seed in range(2):
        assert_same_bits(in_a_crowd(model, method, explicand, others, seed), alone)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_callers_in_other_threads_change_no_bit(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    alone = explain(model, method, explicand, batch_rows=ROWS, deterministic=True)
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda _: explain(model, method, explicand, batch_rows=ROWS, deterministic=True),
            range(2),
        )
    for answer in answers:
        assert_same_bits(answer, alone)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_other_answers_differ_in_the_last_digits_only(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    same = explain(model, method, explicand, batch_rows=ROWS, deterministic=True)
    other = explain(model, method, explicand, batch_rows=7)
    for left, right in zip(same.values, other.values, strict=True):
        scale = left.abs().max().item()
        torch.testing.assert_close(right, left, rtol=0, atol=TOLERANCE * scale)


class Summing(nn.Module):
    """Answers that change in the last digits with the number of rows, and with those beside."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(len(x))
        return (x * (1 + 1e-6 * x.detach().mean() + 1e-7 * len(x))).square().sum(1)


@pytest.mark.parametrize("fold", ["weighted sum", "moments"])
@pytest.mark.parametrize("cuts", [[1] * 23, [23], [5, 11, 7], [8, 15], [3, 1, 9, 10]])
def test_neither_cuts_nor_their_order_change_a_fold(fold: str, cuts: list[int]) -> None:
    x, x0 = numbers(1, 6).float(), numbers(1, 6, seed=1).float()
    weights = torch.rand(23, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    evaluation = Evaluation(
        Path((x,), (x0,), torch.linspace(0, 1, 23, dtype=torch.float64)),
        Output(),
        INPUT,
        reduce=WeightedSum(weights) if fold == "weighted sum" else Moments(),
    ).apart(8)
    model = Summing()
    expected, pending = Pending(evaluation), Pending(evaluation)
    for start in (0, 8, 16):
        piece = RowRange(evaluation, start, min(start + 8, 23))
        expected.add(piece.start, piece.stop, evaluate(model, [piece])[0])
    ends = torch.tensor(cuts).cumsum(0).tolist()
    pieces = [RowRange(evaluation, end - cut, end) for cut, end in zip(cuts, ends, strict=True)]
    random.Random(len(cuts)).shuffle(pieces)
    for piece in pieces:
        pending.add(piece.start, piece.stop, evaluate(model, [piece])[0])
    assert set(model.shapes) == {8, 7}
    for ours, theirs in zip(
        (pending.reading().values, *pending.reading().gradients),
        (expected.reading().values, *expected.reading().gradients),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_rows_of_a_forward_are_of_one_evaluation() -> None:
    model = Summing()
    one, two = (Evaluation(Given((numbers(3, 4, seed=s),))).apart(8) for s in range(2))
    assert one.key == two.key
    parts = evaluate(model, [RowRange(one, 0, 3), RowRange(two, 0, 3)])
    assert model.shapes == [3, 3]
    assert torch.equal(parts[1].values, model(numbers(3, 4, seed=1)))


def test_rows_that_want_forwards_of_their_own_share_no_batch_with_others() -> None:
    evaluation = Evaluation(Given((numbers(3, 4),)))
    assert evaluation.key != evaluation.apart(8).key


@pytest.mark.parametrize(
    ("features", "rows"), [(4, 8), (FORWARD_BYTES // 4 // 5, 4), (FORWARD_BYTES, 1)]
)
def test_forwards_of_large_rows_have_fewer(features: int, rows: int) -> None:
    evaluation = Evaluation(Given((torch.zeros(1, features),)))
    assert evaluation.apart(8).forward_rows == rows


def test_what_replaces_a_layer_counts_as_memory_too() -> None:
    large = Given((torch.zeros(1, FORWARD_BYTES // 4),))
    evaluation = Evaluation(Given((torch.zeros(1, 1),)), patch=Patch(Site("1"), large))
    assert evaluation.apart(8).forward_rows == 1


def test_the_rows_of_a_forward_are_those_that_are_given() -> None:
    model = Summing()
    method = resolve(METHODS["integrated_gradients"], {"n_steps": 20})
    explain(model, method, Explicand.of(numbers(1, 4)), batch_rows=4, deterministic=True)
    assert max(model.shapes) == 4


def test_what_does_not_suit_a_deterministic_answer_is_refused_as_ever() -> None:
    model, method, explicand = case("saliency", "vector")
    wrong = replace(explicand, target=Output(torch.tensor([[3], [0], [0]])))
    with pytest.raises(IndexError, match="target"):
        explain(model, method, wrong, deterministic=True)
