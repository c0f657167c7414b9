"""Forwards that answer later."""

from __future__ import annotations

import random
from threading import Thread

import pytest
import torch
from torch import Tensor
from torch.futures import Future

from adcaptum.engine import METHODS, Explicand, Flow, ask, explain
from adcaptum.engine.errors import ModelError, NotPerRow, OutOfRange
from adcaptum.engine.execution.forwards.futures import run_later
from adcaptum.engine.vocabulary.flow import pause
from tests.models import mlp, numbers

MODEL = mlp()


class Later:
    """Answers when it is told to, in an order of its own."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Tensor], Tensor]] = []

    def __call__(self, x: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        self.waiting.append((answer, MODEL(x)))
        return answer

    def answer(self, seed: int) -> None:
        """Answers all that wait, shuffled, and what is asked in consequence."""
        while self.waiting:
            batch, self.waiting = self.waiting, []
            random.Random(seed).shuffle(batch)
            for answer, value in batch:
                answer.set_result(value)


@pytest.mark.parametrize("name", ["feature_ablation", "shapley_value_sampling", "shapley_values"])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_answers_does_not_matter(name: str, seed: int) -> None:
    explicand = Explicand.of(numbers(2, 8), target=[2, 0], seed=1)
    method = METHODS[name]()
    forward = Later()
    result = run_later(forward, method.flow(explicand), batch_rows=3)
    assert not result.done()
    forward.answer(seed)
    expected = explain(MODEL, method, explicand)
    answer = result.wait()
    torch.testing.assert_close(answer.values, expected.values)
    assert answer.rows_used == expected.rows_used


def test_answers_may_come_from_other_threads() -> None:
    threads = []

    def forward(x: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        threads.append(Thread(target=lambda: answer.set_result(MODEL(x))))
        threads[-1].start()
        return answer

    explicand = Explicand.of(numbers(2, 8), target=1)
    rows: list[int] = []
    flow = METHODS["feature_ablation"]().flow(explicand)
    result = run_later(forward, flow, batch_rows=4, on_rows=rows.append)
    values = result.wait().values
    for thread in threads:
        thread.join()
    expected = explain(MODEL, METHODS["feature_ablation"](), explicand).values
    torch.testing.assert_close(values, expected)
    assert sum(rows) == 18


def test_an_error_of_an_answer_is_that_of_the_result() -> None:
    def forward(_: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        answer.set_exception(ZeroDivisionError("no answer"))  # type: ignore[arg-type]
        return answer

    flow = METHODS["feature_ablation"]().flow(Explicand.of(numbers(2, 8), target=1))
    result = run_later(forward, flow, batch_rows=4)
    with pytest.raises(ZeroDivisionError, match="no answer"):
        result.wait()


@pytest.mark.parametrize(
    ("output", "error"), [(torch.zeros(2, 3), OutOfRange), (torch.zeros(()), NotPerRow)]
)
def test_an_output_that_cannot_be_read_is_an_error_of_the_result(
    output: Tensor, error: type[Exception]
) -> None:
    def forward(_: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        answer.set_result(output)
        return answer

    flow = METHODS["feature_ablation"]().flow(Explicand.of(numbers(1, 8), target=9))
    result = run_later(forward, flow, batch_rows=2)
    with pytest.raises(error):
        result.wait()


def test_an_error_of_the_progress_bar_is_that_of_the_result() -> None:
    def shown(_: int) -> None:
        raise ValueError("no terminal")

    promised: Future[Tensor] = Future()
    flow = METHODS["feature_ablation"]().flow(Explicand.of(numbers(1, 8), target=0))
    result = run_later(lambda _: promised, flow, batch_rows=16, on_rows=shown)
    promised.set_result(mlp()(numbers(9, 8)))
    with pytest.raises(ValueError, match="no terminal"):
        result.wait()


def test_a_forward_that_answers_at_once_is_refused() -> None:
    flow = METHODS["feature_ablation"]().flow(Explicand.of(numbers(1, 8), target=0))
    with pytest.raises(ModelError, match="Future"):
        run_later(MODEL, flow, batch_rows=4)


def test_a_flow_that_pauses_between_answers_goes_on_by_itself() -> None:
    def flow() -> Flow[float]:
        yield from pause()
        reading = yield from ask(Explicand.of(numbers(2, 8), target=0).at_inputs())
        yield from pause()
        yield from pause()
        return float(reading.values.detach().sum())

    later = Later()
    future = run_later(later, flow(), batch_rows=1)
    assert not future.done()
    later.answer(0)
    assert future.value() == pytest.approx(MODEL(numbers(2, 8))[:, 0].sum().item())
