"""However evaluations are cut and mixed into batches, each gets its own rows."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from hypothesis import given, settings, strategies as st

from adcaptum.engine import INPUT, METHODS, Attribution, Explicand, Output, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.rows.sources import Given, Path, blocks
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers, signals

MODEL = signals(6)
# Quick forms of every method: what they ask of the model is of the same kind as in the long forms.
SHORT = {
    "integrated_gradients": {"n_steps": 5},
    "gradient_shap": {"n_samples": 20},
    "smooth_grad": {"n_samples": 3},
    "expected_gradients": {"n_samples": 20},
    "rise": {"n_samples": 30},
    "blur_integrated_gradients": {"n_steps": 5},
    "guided_integrated_gradients": {"n_steps": 3},
    "shapley_value_sampling": {"n_samples": 2},
    "kernel_shap": {"n_samples": 40},
    "leverage_shap": {"n_samples": 40},
    "owen_sampling": {"n_samples": 2},
    "partition_shap": {"max_evals": 20},
}


@dataclass
class Asked:
    """A request in flight."""

    execution: FlowRun[Attribution]
    expected: Attribution
    cancelled: bool = False
    cursor: dict[int, int] = field(default_factory=dict)


def ask(seed: int) -> tuple[Method, Explicand]:
    """A request made from a number."""
    chance = random.Random(seed)
    name = chance.choice(sorted(METHODS))
    # What exchanges the examples' values needs two.
    count = chance.randint(1 + (name == "feature_permutation"), 3)
    target = Output(torch.tensor([[chance.randrange(3)] for _ in range(count)]))
    x, x0 = numbers(count, 6, seed=seed), numbers(1, 6, seed=seed + 1)
    method: Method = resolve(METHODS[name], SHORT.get(name, {}))
    at = Site("2") if needs_layer(method.traits.layer) else INPUT
    return method, Explicand((x,), target, (x0,), at, seed=seed)


def next_slice(asked: Asked, most: int) -> tuple[Pending, RowRange] | None:
    """The next rows of a request, at most so many."""
    for i, pending in enumerate(asked.execution.pending):
        start = asked.cursor.get(i, 0)
        if start < pending.rows:
            stop = min(pending.rows, start + most)
            asked.cursor[i] = stop
            return pending, RowRange(pending.evaluation, start, stop)
    return None


@settings(max_examples=40, deadline=None)
@given(seeds=st.lists(st.integers(0, 10_000), min_size=1, max_size=8), chance=st.randoms())
def test_every_survivor_gets_its_own_rows(seeds: list[int], chance: random.Random) -> None:
    requests = []
    for seed in seeds:
        method, explicand = ask(seed)
        execution = FlowRun(method.flow(explicand))
        execution.start()
        requests.append(Asked(execution, explain(MODEL, method, explicand)))
    while any(not (r.execution.done or r.cancelled) for r in requests):
        live = [r for r in requests if not (r.execution.done or r.cancelled)]
        victim = chance.choice(live)
        if len(live) > 1 and chance.random() < 0.03:
            victim.cancelled = True
            victim.execution.close()
            continue
        batch: dict[object, list[tuple[Pending, RowRange]]] = {}
        for request in chance.sample(live, chance.randint(1, len(live))):
            found = next_slice(request, chance.randint(1, 30))
            if found:
                batch.setdefault(found[1].evaluation.key, []).append(found)
        for pieces in batch.values():
            parts = evaluate(MODEL, [piece for _, piece in pieces])
            for (pending, piece), part in zip(pieces, parts, strict=True):
                pending.add(piece.start, piece.stop, part)
        for request in live:
            if all(p.done == p.rows for p in request.execution.pending):
                request.cursor.clear()
                request.execution.advance()
    for request in requests:
        if not request.cancelled:
            answer = request.execution.result
            for ours, alone in zip(answer.values, request.expected.values, strict=True):
                torch.testing.assert_close(ours, alone, rtol=1e-9, atol=1e-9)
            assert answer.rows_used == request.expected.rows_used


@settings(deadline=None)
@given(
    start=st.integers(0, 60),
    length=st.integers(0, 60),
    per_example=st.integers(1, 13),
)
def test_blocks_cover_each_row_once_and_in_order(start: int, length: int, per_example: int) -> None:
    cut = list(blocks(start, start + length, per_example))
    rows = [
        e * per_example + s for e0, e1, s0, s1 in cut for e in range(e0, e1) for s in range(s0, s1)
    ]
    assert rows == list(range(start, start + length))
    assert len(cut) <= 3


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_rows_taken_together_are_the_rows_taken_alone(cuts: list[int], seed: int) -> None:
    alphas = torch.linspace(0, 1, 12, dtype=torch.float64)
    paths = [
        Path((numbers(1, 4, seed=seed + i),), (numbers(1, 4, seed=seed + i + 50),), alphas)
        for i in range(len(cuts))
    ]
    slices = [(path, 12 - cut, 12) for path, cut in zip(paths, cuts, strict=True)]
    (together,) = Path.take_many(slices)
    alone = torch.cat([path.take(start, stop)[0] for path, start, stop in slices])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_rows_are_fresh_memory() -> None:
    tensor = numbers(3, 2)
    before = tensor.clone()
    for taken in (Given((tensor,)).take(0, 3), Given.take_many([(Given((tensor,)), 0, 3)])):
        taken[0].zero_()
    assert torch.equal(tensor, before)
