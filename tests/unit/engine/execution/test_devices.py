"""Evaluations elsewhere than on the CPU.

Tensors of the device `meta` have shapes and no numbers: whatever reads one, as every wait for an
accelerator does, raises an error.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.errors import NotDeterministic, OutOfRange
from adcaptum.engine.execution.devices import determinism
from adcaptum.engine.execution.devices.ids import check_ids
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.rows import noise, sources
from adcaptum.engine.rows.noise import Noisy
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output

META = torch.device("meta")


class Watched(nn.Module):
    """A model that notes whether PyTorch's kernels are deterministic."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3, device=META)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(torch.are_deterministic_algorithms_enabled())
        made: Tensor = self.linear(x)
        return made


class Elsewhere(nn.Module):
    """A model whose output is on the CPU, wherever its input is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3) + torch.empty_like(x, device="cpu").fill_(1).sum(1)[:, None]


def rows(count: int = 3) -> Given:
    return Given((torch.zeros(count, 4, device=META),))


def test_deterministic_evaluations_have_deterministic_kernels() -> None:
    model = Watched()
    whole = Evaluation(rows(), forward_rows=2)
    evaluate(model, [RowRange(whole, 0, 3)])
    assert model.seen == [True, True]
    evaluate(model, [RowRange(Evaluation(rows()), 0, 3)])
    assert model.seen[2:] == [False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_users_own_settings_come_back() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        evaluate(Watched(), [RowRange(Evaluation(rows(), forward_rows=2), 0, 3)])
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_operation_without_a_deterministic_kernel_is_refused() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.zeros(3).put_(torch.tensor([0, 1]), torch.ones(2))[:, None]

    with pytest.raises(NotDeterministic, match="put_ has no kernel on this device"):
        evaluate(model, [RowRange(Evaluation(rows(), forward_rows=32), 0, 3)])
    evaluate(model, [RowRange(Evaluation(rows()), 0, 3)])


def test_cublas_without_its_variable_is_a_refusal_too() -> None:
    said = "to enable deterministic behavior you must set CUBLAS_WORKSPACE_CONFIG=:4096:8"
    assert "when the process starts" in str(determinism.refusal(RuntimeError(said)))
    assert determinism.refusal(RuntimeError("another error")) is None


def test_a_model_may_answer_on_the_cpu() -> None:
    (part,) = evaluate(Elsewhere(), [RowRange(Evaluation(rows(), Output(index=0)), 0, 3)])
    assert part.values.device == META
    assert part.values.shape == (3,)


@pytest.mark.parametrize("wrt", [None, INPUT], ids=["outputs", "gradients"])
def test_no_evaluation_waits_for_the_device(wrt: object) -> None:
    targets = Output(torch.tensor([[0], [1], [2]]))
    asked = Evaluation(rows(), targets, INPUT if wrt else None)
    other = Evaluation(rows(2), Output(index=1), INPUT if wrt else None)
    parts = evaluate(Watched(), [RowRange(asked, 0, 3), RowRange(other, 0, 2)])
    assert [len(part.values) for part in parts] == [3, 2]


@pytest.mark.parametrize(
    "name", ["saliency", "integrated_gradients", "smooth_grad", "deep_lift", "lrp"]
)
def test_no_batch_of_these_methods_waits_for_the_device(name: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(META)
    question = Explicand.of(torch.zeros(2, 4, device=META), target=[0, 2], baselines=0.0)
    answer = explain(model, METHODS[name](), question, batch_rows=5)
    assert answer.values[0].shape == (2, 4)


def test_every_device_has_the_random_numbers_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    given = torch.randn(2, 4)
    near = Noisy((given,), (torch.ones(1, 1),), seed=3, first=5, samples=7, antithetic=True)
    copies: list[Tensor] = []
    own = sources.copied

    def copied(numbers: Tensor, like: Tensor) -> Tensor:
        copies.append(numbers)
        return own(numbers, like)

    monkeypatch.setattr(noise, "copied", copied)
    (here,) = near.take(0, 14)
    (there,) = replace(
        near, tensors=(given.to(META),), scales=(torch.ones(1, 1, device=META),)
    ).take(0, 14)
    assert there.device == META
    assert there.shape == here.shape
    assert len(copies) == 2, "one copy for all samples of a slice"
    assert torch.equal(*copies)


@pytest.mark.parametrize(
    ("field", "inputs", "baselines", "value"),
    [
        ("inputs", [[1, 7]], 0, 7),
        ("inputs", [[-1, 2]], 0, -1),
        ("baselines", [[1, 2]], torch.tensor([[0, 9]]), 9),
    ],
)
def test_ids_beyond_an_embedding_are_found_before_they_reach_a_device(
    field: str, inputs: list[list[int]], baselines: Tensor | int, value: int
) -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2))
    for at in (Site("0"), Site(model[0])):
        asked = Explicand.of(torch.tensor(inputs), target=0, baselines=baselines, at=at)
        with pytest.raises(OutOfRange, match=rf"^{field}\[0\] is {value}: from 0 to 6") as caught:
            check_ids(model, asked)
        assert caught.value.value == value


def test_all_other_inputs_pass() -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2))
    check_ids(model, Explicand.of(torch.tensor([[0, 6]]), target=0, at=Site("0")))
    check_ids(model, Explicand.of(torch.tensor([[0, 60]]), target=0, at=Site("1")))
    check_ids(len, Explicand.of(torch.ones(1, 2), target=0))
