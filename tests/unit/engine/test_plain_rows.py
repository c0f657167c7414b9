"""Rows that are examples or baselines as they were given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import Pending
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.games.coalitions import (
    Coalitions,
    Enumerated,
    LeaveOneOut,
    Listed,
    Prefixes,
    nobody,
)
from adcaptum.engine.games.features import Features
from adcaptum.engine.games.masked_rows import Masked
from adcaptum.engine.methods.perturbation.windows import Windowed, Windows
from adcaptum.engine.rows.reduce import Ignored, Moments, Reduce, Stack, WeightedSum
from adcaptum.engine.rows.sources import MOST_PLAIN, Given, Path, Repeated, Rows
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output
from tests.models import numbers

X, Y = numbers(3, 4), numbers(3, 2, 3, seed=1)
X0, Y0 = numbers(3, 4, seed=2), numbers(3, 2, 3, seed=3)
MASKS = (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[[2], [3]]]))


def masked(coalitions: Coalitions) -> Masked:
    features = Features.of(Explicand.of((X, Y), feature_mask=MASKS), (X, Y))
    return Masked((X, Y), (X0, Y0), features, coalitions)


def path(*alphas: float) -> Path:
    return Path((X, Y), (X0, Y0), torch.tensor(alphas, dtype=torch.float64))


SOME = torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]).bool()
SOURCES: dict[str, tuple[Rows, list[int]]] = {
    "given": (Given((X, Y)), [0, 1, 2]),
    "a path with its ends": (path(0, 0.3, 1), [0, 2, 3, 5, 6, 8]),
    "a path without its ends": (path(0.1, 0.9), []),
    "every coalition": (masked(Enumerated(4)), [0, 15, 16, 31, 32, 47]),
    "each feature left out": (masked(LeaveOneOut(4)), [4, 9, 14]),
    "listed coalitions": (masked(Listed(SOME)), [1, 3, 5, 7, 9, 11]),
    "coalitions of orders": (masked(Prefixes(torch.tensor([[0, 1, 2, 3]]).int())), []),
    "windows": (
        Windowed(
            (X, Y), (X0, Y0), (Windows((4,), (2,), (1,)), Windows((2, 3), (1, 2), (1, 1)))
        ),
        [7, 15, 23],
    ),
    "repeated": (Repeated((X, Y), 2), []),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "expected"), SOURCES.values(), ids=SOURCES)
def test_a_plain_row_is_what_it_is_said_to_be(rows: Rows, expected: list[int]) -> None:
    plain = rows.plain()
    assert [each.row for each in plain] == expected
    for row, tensors in plain:
        for made, said in zip(rows.take(row, row + 1), tensors, strict=True):
            assert torch.equal(made[0], said)


def test_sources_with_many_plain_rows_name_none() -> None:
    assert len(Given((torch.zeros(MOST_PLAIN, 1),)).plain()) == MOST_PLAIN
    assert Given((torch.zeros(MOST_PLAIN + 1, 1),)).plain() == []


def test_the_coalition_of_nobody_is_found() -> None:
    assert nobody(Enumerated(3)) == 0
    assert nobody(Listed(SOME)) == 3
    assert nobody(Listed(SOME[:2])) is None
    assert nobody(LeaveOneOut(1)) is None


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (Stack(), [False, False]),
        (Moments(), [False, False]),
        (Ignored(), [True, True]),
        (WeightedSum(torch.tensor([0.0, 0.5])), [True, False]),
    ],
    ids=["stack", "moments", "ignored", "weights"],
)
def test_a_reduction_says_which_gradients_count_for_nothing(
    reduce: Reduce, expected: list[bool]
) -> None:
    assert [reduce.passes_over(sample) for sample in range(2)] == expected


def test_an_integral_is_the_same_without_the_ends_that_weigh_nothing() -> None:
    rows = path(0, 0.3, 0.6, 1)
    weights = torch.tensor([0, 0.5, 0.5, 0], dtype=torch.float64)
    gradients = (numbers(12, 4, seed=4), numbers(12, 2, 3, seed=5))
    values = numbers(12, seed=6)
    evaluation = Evaluation(rows, Output(), wrt=INPUT, reduce=WeightedSum(weights))
    whole, partial = Pending(evaluation), Pending(evaluation)
    whole.add(0, 12, Part(values, gradients))
    for example in range(3):
        first = 4 * example
        partial.know(first + 3, values[first + 3])
        part = slice(first + 1, first + 3)
        partial.add(first + 1, first + 3, Part(values[part], tuple(g[part] for g in gradients)))
        partial.know(first, values[first])
    assert torch.equal(partial.reading().values, whole.reading().values)
    assert [partial.value(row) for row in range(12)] == [whole.value(row) for row in range(12)]
    for one, other in zip(partial.reading().gradients, whole.reading().gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_rows_that_were_known_count_for_the_budget_and_not_as_used() -> None:
    method = METHODS["feature_ablation"]()
    execution = FlowRun(method.flow(Explicand.of(X, target=0)), max_rows=15)
    (pending,) = execution.start()
    for row in range(15):
        pending.know(row, values(row))
    execution.rows_known = 15
    execution.advance()
    assert execution.rows_used == 15
    assert execution.result.rows_used == 0


def values(row: int) -> Tensor:
    return torch.tensor(float(row))
