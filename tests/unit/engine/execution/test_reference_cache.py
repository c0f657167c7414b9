"""What is kept of reference rows: when, how much of it, and when it is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Evaluation, Explicand, Neuron, Site, explain
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.execution.references.reference_cache import (
    MOST_BYTES,
    RESTING,
    ReferenceMemory,
)
from adcaptum.engine.methods.backward_rules.reference_rows import (
    compared_with_background,
    compared_with_baselines,
)
from adcaptum.engine.rules.deep_lift.rescale import Rescale
from adcaptum.engine.vocabulary.arguments import Shared
from tests.models import mlp, numbers

# What a row takes in the records of `relu_network`: what goes into its ReLU, 16 numbers, and three
# outputs.
ROW_BYTES = (16 + 3) * 8


class Counted(nn.Module):
    """Counts the rows that a model is given."""

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = model
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.function(x)


def relu_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).double().eval()


def compared(start: int = 99, count: int = 3, seed: int = 0, **rest: Any) -> Evaluation:
    """Examples compared with one baseline, which `start` tells from others."""
    asked = {"target": 1, "baselines": numbers(1, 8, seed=start), **rest}
    question = Explicand.of(numbers(count, 8, seed=seed), **asked)
    return compared_with_baselines(question, Rescale(), multiply=True)


def against(first: int, last: int, seed: int = 0) -> Evaluation:
    """An example compared with some rows of a background."""
    rows = torch.cat([numbers(1, 8, seed=100 + row) for row in range(first, last)])
    question = Explicand.of(numbers(1, 8, seed=seed), target=1, baselines=rows)
    return compared_with_background(question, Rescale(), multiply=True)


def run(model: Counted, evaluation: Evaluation, memory: ReferenceMemory | None = None) -> Part:
    (part,) = evaluate(model, [RowRange(evaluation, 0, len(evaluation.rows))], memory=memory)
    return part


def extra(model: Counted, evaluation: Evaluation, memory: ReferenceMemory) -> int:
    """Runs a batch; gives how many rows it had beside its examples."""
    run(model, evaluation, memory)
    return model.rows[-1] - len(evaluation.rows)


def test_a_row_is_recorded_when_it_comes_and_known_from_then_on() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory()
    assert (len(memory), memory.nbytes) == (0, 0)
    assert extra(model, compared(seed=1), memory) == 1
    assert (len(memory), memory.nbytes) == (1, ROW_BYTES)
    assert extra(model, compared(seed=2), memory) == 0
    assert extra(model, compared(start=98, seed=3), memory) == 1


def test_what_is_known_of_some_rows_serves_beside_others_that_are_evaluated() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory()
    run(model, compared(start=98), memory)
    run(model, compared(start=97), memory)
    asked = [compared(start=start, seed=start) for start in (97, 99, 98)]
    parts = evaluate(model, [RowRange(e, 0, 3) for e in asked], memory=memory)
    assert model.rows[-1] == 9 + 1
    for evaluation, part in zip(asked, parts, strict=True):
        expected = run(model, evaluation)
        torch.testing.assert_close(part.gradients, expected.gradients, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part.reference_values, expected.reference_values)


@pytest.mark.parametrize(
    "other",
    [
        {"at": Site("function.0")},
        {"target": Neuron(Site("function.1"), (3,))},
        {"target": Neuron(Site("function.1"), (slice(None),))},
    ],
    ids=["another layer", "a neuron", "neurons"],
)
def test_what_is_known_of_another_question_is_not_taken(other: dict[str, Any]) -> None:
    model, memory = Counted(relu_network()), ReferenceMemory()
    run(model, compared(), memory)
    assert extra(model, compared(**other), memory) == 1
    assert extra(model, compared(), memory) == 0


def test_another_dtype_is_another_row() -> None:
    model, memory = Counted(lambda x: x.relu()), ReferenceMemory()
    for dtype in (torch.float64, torch.float32):
        zeros = torch.zeros(1, 8, dtype=dtype)
        question = Explicand.of(torch.ones(2, 8, dtype=dtype), target=1, baselines=zeros)
        evaluation = compared_with_baselines(question, Rescale(), multiply=True)
        assert extra(model, evaluation, memory) == 1
    assert len(memory) == 2


def test_rows_that_come_in_turns_and_do_not_fit_are_kept_in_part() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory(5 * ROW_BYTES)
    for turn in range(6):
        for start in range(8):
            run(model, compared(start=start, seed=turn), memory)
            assert memory.nbytes <= memory.most_bytes
    assert len(memory) == 5
    extras = [extra(model, compared(start=start), memory) for start in range(8)]
    assert sum(extras) == 3


def test_what_is_no_longer_used_makes_room() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory(2 * ROW_BYTES)
    for start in (1, 2):
        run(model, compared(start=start), memory)
    for _ in range(RESTING // 2):
        assert extra(model, compared(start=3), memory) == 1
        assert extra(model, compared(start=2), memory) == 0
    assert extra(model, compared(start=3), memory) == 0
    assert extra(model, compared(start=2), memory) == 0
    assert extra(model, compared(start=1), memory) == 1
    assert memory.nbytes == 2 * ROW_BYTES


def test_of_a_background_that_does_not_fit_as_much_is_kept_as_does() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory(5 * ROW_BYTES)
    extras = [extra(model, against(0, 9, seed), memory) for seed in range(5)]
    # The first time shows how large a row is, the second time keeps what fits.
    assert extras == [9, 9, 4, 4, 4]
    assert memory.nbytes == 5 * ROW_BYTES


def test_a_memory_without_room_keeps_nothing() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory(0)
    assert [extra(model, compared(), memory) for _ in range(4)] == [1] * 4
    assert memory.nbytes == 0


def test_rows_that_never_come_again_make_room_for_those_that_do() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory(100 * ROW_BYTES)
    for start in range(1000, 1300):
        run(model, compared(start=start), memory)
    assert len(memory) == 100
    run(model, compared(start=7), memory)
    assert extra(model, compared(start=7), memory) == 0
    assert extra(model, compared(start=1000), memory) == 1


class Moody(nn.Module):
    """Does another operation, or a larger one, once it is told to."""

    def __init__(self, mood: str) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8).double()
        self.mood, self.turned = mood, False

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if not self.turned:
            return y.relu().tanh()
        if self.mood == "another":
            return y.tanh().relu()
        if self.mood == "fewer":
            return y.relu()
        if self.mood == "more":
            return y.relu().tanh().sigmoid()
        if self.mood == "larger":
            return torch.cat([y, y], 1).relu().tanh()
        return y.float().relu().tanh()


@pytest.mark.parametrize("mood", ["another", "fewer", "more", "larger", "narrower"])
def test_a_model_that_does_something_else_is_evaluated_with_its_references(mood: str) -> None:
    model, memory = Moody(mood), ReferenceMemory()
    counted = Counted(model)
    run(counted, compared(), memory)
    assert extra(counted, compared(), memory) == 0
    model.turned = True
    part = run(counted, compared(seed=1), memory)
    assert counted.rows[-2:] == [3, 4]
    assert len(memory) == 0
    torch.testing.assert_close(part.gradients, run(counted, compared(seed=1)).gradients)
    # Recorded as it is now; the next disagreement is the last.
    assert extra(counted, compared(), memory) == 1
    assert extra(counted, compared(), memory) == 0
    model.turned = False
    assert [extra(counted, compared(), memory) for _ in range(4)] == [1] * 4
    assert memory.nbytes == 0


def test_a_model_that_leaves_the_way_by_what_rows_say_is_explained_right() -> None:
    def forked(x: Tensor) -> Tensor:
        return x.tanh() * 2 if bool(x[0, 0] > 0) else x.relu() + x

    model, memory = Counted(forked), ReferenceMemory()
    for sign in (1, -1, 1, -1):
        question = Explicand.of(sign * numbers(2, 8).abs(), target=1, baselines=0.0)
        evaluation = compared_with_baselines(question, Rescale(), multiply=True)
        part = run(model, evaluation, memory)
        torch.testing.assert_close(part.gradients, run(model, evaluation).gradients)


def test_nothing_is_recorded_of_a_model_that_mixes_rows() -> None:
    model, memory = Counted(lambda x: (x - x.mean(0)).relu()), ReferenceMemory()
    assert [extra(model, compared(), memory) for _ in range(4)] == [1] * 4
    assert memory.nbytes == 0


def test_nothing_is_recorded_of_operations_without_a_rule() -> None:
    memory = ReferenceMemory()
    model = Counted(lambda x: x.relu().cumprod(1))
    assert [extra(model, compared(), memory) for _ in range(3)] == [1] * 3
    trusting = ReferenceMemory(independent=True)
    assert [extra(model, compared(), trusting) for _ in range(3)] == [1, 0, 0]


class Failing(nn.Module):
    """Fails where it is told to, once its references are known."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.first, self.last = relu_network(), nn.Linear(3, 2).double()
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.fails and len(x) == 3:
            raise ValueError("told to")
        return self.last(y)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails: bool) -> None:
    model, memory = Counted(Failing(fails=fails)), ReferenceMemory()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    question = compared(at=Site("function.first.1"))
    run(model, question, memory)
    if fails:
        with pytest.raises(ValueError, match="told to"):
            run(model, question, memory)
    else:
        run(model, question, memory)
    assert model.rows == [4, 3]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for name, t in model.state_dict().items():
        assert torch.equal(t, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_known_does_not_change_by_being_used() -> None:
    model, memory = Counted(mlp()), ReferenceMemory()
    first = [run(model, compared(seed=seed), memory) for seed in (0, 1)][1]
    for seed in range(2, 6):
        run(model, compared(seed=seed, count=seed), memory)
    again = run(model, compared(seed=1), memory)
    assert torch.equal(again.gradients[0], first.gradients[0])
    assert torch.equal(again.values, first.values)


def test_threads_share_a_memory() -> None:
    model, memory = relu_network(), ReferenceMemory(6 * ROW_BYTES)
    asked = [compared(start=n % 9, seed=n, count=1 + n % 4) for n in range(60)]
    expected = [run(Counted(model), evaluation) for evaluation in asked]

    def answer(evaluation: Evaluation) -> Part:
        torch.set_num_threads(1)
        return run(Counted(model), evaluation, memory)

    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(answer, asked), *threads.map(answer, asked)]
    for part, one in zip(found, [*expected, *expected], strict=True):
        torch.testing.assert_close(part.gradients, one.gradients, rtol=1e-12, atol=1e-12)
    assert 0 < memory.nbytes <= 6 * ROW_BYTES
    assert memory.nbytes == len(memory) * ROW_BYTES


def test_deterministic_answers_take_no_notice_of_it() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory()
    run(model, compared(), memory)
    method, x = METHODS["deep_lift"](), numbers(3, 8)
    question = Explicand.of(x, target=1, baselines=numbers(1, 8, seed=99))
    with_it = explain(model, method, question, deterministic=True, memory=memory)
    assert model.rows[-1] == 3 + 1
    without = explain(model, method, question, deterministic=True)
    assert torch.equal(with_it.values[0], without.values[0])


def test_calls_share_a_memory_that_they_are_handed() -> None:
    model, memory, method = Counted(relu_network()), ReferenceMemory(), METHODS["deep_lift"]()
    question = Explicand.of(numbers(3, 8), target=1, baselines=numbers(1, 8, seed=99))
    for _ in range(3):
        explain(model, method, question, batch_rows=8, memory=memory)
    assert model.rows == [4, 3, 3]


def test_a_call_does_not_know_what_the_weights_were_before() -> None:
    model, method = Counted(relu_network()), METHODS["deep_lift_shap"]()
    question = Explicand.of(numbers(3, 8), target=1, baselines=numbers(4, 8, seed=99))
    explain(model, method, question, batch_rows=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    answer = explain(model, method, question, batch_rows=4)
    expected = explain(model, method, question, batch_rows=100)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-12, atol=1e-12)


def test_shared_arguments_that_may_change_are_not_relied_on() -> None:
    memory = ReferenceMemory()
    assert not memory.serves(compared(additional_forward_args=(Shared([1, 2]), 2.0)))
    assert memory.serves(compared(additional_forward_args=(2.0, "mean")))
    assert memory.most_bytes == MOST_BYTES


def test_what_is_known_is_not_taken_under_autocast() -> None:
    model, memory = Counted(relu_network()), ReferenceMemory()
    run(model, compared(), memory)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert extra(model, compared(), memory) == 1
    assert extra(model, compared(), memory) == 0
