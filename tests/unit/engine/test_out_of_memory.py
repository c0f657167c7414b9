"""Batches that do not fit in memory: their rows run again in smaller ones, which is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import mlp, numbers

METHOD = resolve(METHODS["integrated_gradients"], {"n_steps": 200})
QUESTION = Explicand.of(numbers(2, 8), target=[0, 2], baselines=0.0)


class Small(nn.Module):
    """A model on a device that holds a few rows at once."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.model = mlp()
        self.holds = holds
        self.tried: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tried.append(len(x))
        if len(x) > self.holds:
            raise torch.OutOfMemoryError(f"{len(x)} rows")
        return self.model(x)


@dataclass
class Evaluated:
    """The rows of the batches that were evaluated."""

    batches: list[int] = field(default_factory=list)

    def __call__(self, rows: int) -> None:
        self.batches.append(rows)


@pytest.mark.parametrize("holds", [1, 3, 16, 50])
def test_an_answer_is_that_of_a_device_with_more_memory(holds: int) -> None:
    model = Small(holds)
    answer = explain(model, METHOD, QUESTION)
    expected = explain(mlp(), METHOD, QUESTION)
    torch.testing.assert_close(answer.values[0], expected.values[0], rtol=1e-12, atol=1e-12)
    assert answer.rows_used == expected.rows_used


@pytest.mark.parametrize("batch_rows", [None, 300])
def test_each_row_is_evaluated_once(batch_rows: int | None) -> None:
    seen = Evaluated()
    answer = explain(Small(7), METHOD, QUESTION, batch_rows=batch_rows, on_rows=seen)
    assert sum(seen.batches) == answer.rows_used
    assert max(seen.batches) <= 7


def test_what_does_not_fit_is_not_tried_twice() -> None:
    model = Small(20)
    for _ in range(5):
        explain(model, METHOD, QUESTION)
    too_many = [rows for rows in model.tried if rows > 20]
    # Once for each kind of batch there is: with gradients and, for the error, without.
    assert 1 <= len(too_many) <= 4
    model.tried.clear()
    explain(model, METHOD, QUESTION)
    assert max(model.tried) <= 20


def test_a_row_that_does_not_fit_is_an_error() -> None:
    model = Small(0)
    with pytest.raises(torch.OutOfMemoryError):
        explain(model, METHOD, QUESTION)
    assert model.tried[-1] == 1


def test_a_deterministic_answer_is_not_given_in_other_batches() -> None:
    model = Small(7)
    with pytest.raises(torch.OutOfMemoryError):
        explain(model, METHOD, QUESTION, deterministic=True)
    answer = explain(model, METHOD, QUESTION, deterministic=True, batch_rows=4)
    again = explain(Small(100), METHOD, QUESTION, deterministic=True, batch_rows=4)
    assert torch.equal(answer.values[0], again.values[0])
