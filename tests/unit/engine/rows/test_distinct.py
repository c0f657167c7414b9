"""Equal rows of a batch are evaluated once, and only where that is worth it."""

from itertools import count

import pytest
import torch
from torch import Tensor

from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.rows.distinct import LONGEST_WAIT, Distinct, Duplicates, distinct
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.arguments import Arguments, PerExample, Shared
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output


class Counted(torch.nn.Module):
    """Sums squares, and remembers how many rows it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, rows: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        self.rows.append(len(rows))
        return torch.stack([(rows**2).sum(1), rows.sum(1)], 1) * scale


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("seed", range(3))
def test_distinct_rows_and_their_numbers_give_the_rows_again(dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    some = torch.randint(0, 2, (40, 2, 2), generator=generator).to(dtype)
    other = torch.randint(0, 2, (40, 1), generator=generator)
    found = distinct([some, other])
    assert found is not None
    assert torch.equal(found.rows[0][found.numbers], some)
    assert torch.equal(found.rows[1][found.numbers], other)
    both = torch.cat([some.flatten(1).long(), other], 1)
    assert len(found.rows[0]) == len(both.unique(dim=0))
    # They stand in the order in which they first came.
    first = [found.numbers.tolist().index(i) for i in range(len(found.rows[0]))]
    assert first == sorted(first)


def test_rows_that_are_all_distinct_are_left_alone() -> None:
    assert distinct([torch.randn(50, 4, generator=torch.Generator().manual_seed(0))]) is None


@pytest.mark.parametrize("pair", [(0.0, -0.0), (float("nan"), float("nan"))], ids=str)
def test_zero_is_not_minus_zero_and_nan_is_left_alone(pair: tuple[float, float]) -> None:
    assert distinct([torch.tensor([[pair[0]], [pair[1]]])]) is None


def test_features_in_another_order_are_other_rows() -> None:
    assert distinct([torch.eye(20)]) is None


def test_a_look_that_pays_is_repeated_with_every_batch() -> None:
    ticks = count()
    duplicates = Duplicates(lambda: next(ticks) * 1e-3)
    rows = torch.ones(64, 3)
    found = [duplicates.look([rows], row_seconds=1e-3) for _ in range(10)]
    assert all(each is not None for each in found)


def test_looks_that_do_not_pay_become_rare() -> None:
    ticks = count()
    duplicates = Duplicates(lambda: next(ticks) * 1e-3)
    rows = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    batches = 5000
    for _ in range(batches):
        assert duplicates.look([rows], row_seconds=1e-3) is None
    looks = next(ticks) // 2
    assert 8 <= looks <= 10 + batches // LONGEST_WAIT


@pytest.mark.parametrize(("rows", "seconds"), [(7, 1.0), (64, 1e-9)], ids=["few", "cheap"])
def test_batches_that_cost_little_are_not_looked_at(rows: int, seconds: float) -> None:
    ticks = count()
    duplicates = Duplicates(lambda: next(ticks) * 1e-3)
    for _ in range(100):
        assert duplicates.look([torch.ones(rows, 3)], row_seconds=seconds) is None
    assert next(ticks) <= 2


def pieces() -> list[RowRange]:
    rows = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [3.0, 1.0]])
    target = Output(torch.tensor([[0], [1], [1], [0], [0]]))
    return [
        RowRange(Evaluation(Given((rows,)), target), 0, 5),
        RowRange(Evaluation(Given((rows.flip(0),))), 1, 4),
    ]


def test_equal_rows_are_evaluated_once_whoever_asks_for_them() -> None:
    model = Counted()
    once = evaluate(model, pieces(), deduplicate=distinct)
    each = evaluate(model, pieces())
    assert model.rows == [3, 8]
    for one, other in zip(once, each, strict=True):
        assert torch.equal(one.values, other.values)


@pytest.mark.parametrize("what", ["gradients", "arguments"])
def test_rows_with_more_than_themselves_are_all_evaluated(what: str) -> None:
    model, looked = Counted(), []

    def look(tensors: object) -> Distinct | None:
        looked.append(tensors)
        return None

    rows = Given((torch.ones(4, 2),))
    target = Output(torch.zeros(4, 1, dtype=torch.int64))
    if what == "gradients":
        evaluation = Evaluation(rows, target, wrt=INPUT)
    else:
        scale = PerExample(torch.arange(4.0)[:, None])
        evaluation = Evaluation(rows, target, arguments=Arguments((scale,)))
    evaluate(model, [RowRange(evaluation, 0, 4)], deduplicate=look)
    assert (model.rows, looked) == ([4], [])


def test_arguments_that_all_rows_share_do_no_harm() -> None:
    model = Counted()
    evaluation = Evaluation(Given((torch.ones(4, 2),)), arguments=Arguments((Shared(3.0),)))
    (part,) = evaluate(model, [RowRange(evaluation, 0, 4)], deduplicate=distinct)
    assert model.rows == [1]
    assert torch.equal(part.values, torch.tensor([[6.0, 6.0]]).expand(4, 2))
