"""Flows under way: rounds, budgets, progress, failure."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import (
    METHODS,
    Attribution,
    BudgetExceeded,
    Explicand,
    Flow,
    Reading,
    Site,
    StopReason,
    ask,
    explain,
    gather,
    run,
)
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.methods.paths.gradient_shap import GradientShap
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.vocabulary.flow import pause, report
from tests.models import mlp, numbers


def double(x: Tensor) -> Tensor:
    return 2 * x.sum(1)


def question(n: int = 1) -> Explicand:
    return Explicand.of(torch.full((n, 2), float(n)))


def asks(times: int) -> Flow[float]:
    total = 0.0
    for _ in range(times):
        reading: Reading = yield from ask(question().at_inputs())
        total += reading.values.item()
    return total


def test_gathered_flows_share_rounds_and_keep_their_order() -> None:
    execution = FlowRun(gather([asks(3), asks(1), asks(2)]))
    sizes = []
    pending = execution.start()
    while pending:
        sizes.append(len(pending))
        for p in pending:
            p.add(0, 1, part(4.0))
        pending = execution.advance()
    assert sizes == [3, 2, 1]
    assert execution.result == [12.0, 4.0, 8.0]


def part(value: float) -> Part:
    return Part(torch.tensor([value]))


def test_gathering_nothing_gives_nothing() -> None:
    assert run(double, gather([])) == []


def test_a_failed_evaluation_is_thrown_into_the_flow_which_may_go_on() -> None:
    def careful() -> Flow[str]:
        try:
            yield from ask(question().at_inputs())
        except ZeroDivisionError:
            reading = yield from ask(question(3).at_inputs())
            return f"recovered with {len(reading.values)} rows"
        return "never"

    calls = []

    def fails_once(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 1:
            raise ZeroDivisionError
        return double(x)

    assert run(fails_once, careful()) == "recovered with 3 rows"


def test_what_is_learnt_of_a_model_does_not_keep_it_alive() -> None:
    model = nn.Linear(8, 3).eval()
    alive = weakref.ref(model)
    explain(model, METHODS["activation"](), Explicand.of(torch.ones(2, 8), at=Site(model)))
    del model
    gc.collect()
    assert alive() is None


def test_a_flow_is_closed_whatever_happens() -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield from ask(question().at_inputs())
        finally:
            closed.append(True)

    def broken(_x: Tensor) -> Tensor:
        raise KeyError("model")

    with pytest.raises(KeyError):
        run(broken, gather([flow(), flow()]))
    FlowRun(flow()).close()
    stopped = FlowRun(flow())
    stopped.start()
    stopped.close()
    assert len(closed) == 3


def test_a_sampling_method_stops_at_its_budget_with_what_it_has() -> None:
    model = mlp()
    explicand = Explicand.of(numbers(1, 8), target=0)
    answers: list[Attribution] = []
    answer = explain(model, GradientShap(1000), explicand, max_rows=120, on_progress=answers.append)
    assert answer.stop_reason is StopReason.BUDGET
    assert answer.rows_used <= 120
    assert answer.standard_error is not None
    assert torch.equal(answer.values[0], answers[-1].values[0])
    errors = [a.standard_error.item() for a in answers if a.standard_error is not None]
    assert len(errors) > 1
    assert errors[-1] < errors[0]


def test_a_method_without_an_early_answer_is_refused_with_the_rows_it_needs() -> None:
    with pytest.raises(BudgetExceeded, match="needs at least 52 rows and may use 51"):
        explain(mlp(), IntegratedGradients(50), Explicand.of(numbers(1, 8), target=0), max_rows=51)


def test_stopping_without_an_answer_is_not_an_end() -> None:
    execution = FlowRun(asks(2))
    execution.start()
    assert not execution.stop(StopReason.DEADLINE)
    assert not execution.done
    execution.close()


def test_stopping_gives_the_last_report_with_its_cost() -> None:
    def flow() -> Flow[Attribution]:
        for value in (1.0, 2.0):
            yield from ask(question().at_inputs())
            yield from report(Attribution((torch.tensor([[value]]),)))
        yield from ask(question().at_inputs())
        return Attribution(())

    execution = FlowRun(flow())
    pending = execution.start()
    for _ in range(2):
        (only,) = pending
        only.add(0, 1, part(0.0))
        pending = execution.advance()
    assert execution.stop(StopReason.DEADLINE)
    assert execution.result.values[0].item() == 2
    assert execution.result.stop_reason is StopReason.DEADLINE
    assert execution.result.rows_used == 3


def test_a_reading_is_given_only_when_every_row_is_there() -> None:
    pending = Pending(question(2).at_inputs())
    pending.add(0, 1, part(1.0))
    with pytest.raises(AssertionError, match="1 of 2 rows"):
        pending.reading()


def thinks(times: int) -> Flow[int]:
    for _ in range(times):
        yield from pause()
    return times


def test_a_flow_that_pauses_is_resumed_to_its_end() -> None:
    assert run(double, thinks(3)) == 3


def test_pauses_and_rows_share_rounds() -> None:
    gathered: Flow[list[float]] = gather([thinks(2), asks(3), thinks(0)])
    assert run(double, gathered) == [2, 12.0, 0]


def test_a_paused_flow_is_not_done_and_may_be_stopped_or_closed() -> None:
    closed = []

    def flow() -> Flow[Attribution]:
        try:
            yield from report(Attribution((torch.ones(1, 2),)))
            yield from thinks(1000)
        finally:
            closed.append(True)
        return Attribution(())

    execution = FlowRun(flow(), max_rows=0)
    assert execution.start() == ()
    assert execution.paused
    assert not execution.done
    execution.advance()
    assert execution.paused
    assert execution.stop(StopReason.DEADLINE)
    assert execution.done
    assert not execution.paused
    assert execution.result.stop_reason is StopReason.DEADLINE
    assert closed == [True]


def test_an_error_while_a_flow_thinks_reaches_the_caller() -> None:
    def flow() -> Flow[int]:
        yield from pause()
        raise ValueError("of the mathematics")

    with pytest.raises(ValueError, match="of the mathematics"):
        run(double, flow())
