"""attribute_future: forwards that give futures."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.futures import Future

from adcaptum import attr
from adcaptum.engine.errors import NotPerRow
from tests.captum_oracle import assert_same, ours
from tests.models import mlp, numbers

MODEL = mlp()
X = numbers(3, 8)
NAMES = ["FeatureAblation", "FeaturePermutation", "ShapleyValueSampling", "ShapleyValues"]


def at_once(forward: Callable[[Tensor], object]) -> Callable[[Tensor], Future[Any]]:
    def later(x: Tensor) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_result(forward(x))
        return answer

    return later


class Shuffled:
    """Answers when it is told to, in any order."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward
        self.waiting: list[tuple[Future[Tensor], Tensor]] = []
        self.sizes: list[int] = []

    def __call__(self, x: Tensor) -> Future[Tensor]:
        self.sizes.append(len(x))
        answer: Future[Tensor] = Future()
        self.waiting.append((answer, self.forward(x)))
        return answer

    def answer(self, seed: int) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting, []
            random.Random(seed).shuffle(batch)
            for answer, value in batch:
                answer.set_result(value)


def later(name: str, forward: Any, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(5)
    return getattr(attr, name)(forward).attribute_future(*args, **kwargs)


def now(name: str, forward: Any, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(5)
    return ours(name, (forward,), *args, **kwargs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [1, [0, 2, 1], (2,), None])
@pytest.mark.parametrize("per_eval", [1, 4])
def test_a_future_holds_what_attribute_gives(name: str, target: Any, per_eval: int) -> None:
    arguments = {"target": target, "perturbations_per_eval": per_eval}
    expected = now(name, MODEL, X, **arguments)
    assert_same(later(name, at_once(MODEL), X, **arguments).wait(), expected, 1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_answers_may_come_in_any_order(name: str, seed: int) -> None:
    """B27: in Captum contributions get lost."""
    forward = Shuffled(MODEL)
    result = later(name, forward, (X,), target=0, perturbations_per_eval=2)
    assert not result.done()
    forward.answer(seed)
    expected = now(name, MODEL, (X,), target=0)
    answer = result.wait()
    assert isinstance(answer, tuple)
    assert_same(answer, expected, 1e-10)
    assert max(forward.sizes) == 2 * len(X)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_comes_later_is_explained(name: str) -> None:
    labels = torch.tensor([0, 2, 1])

    def loss(x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(MODEL(x), labels)

    mask = torch.arange(8)[None] // 2
    expected = now(name, loss, X, feature_mask=mask)
    assert expected.shape == (1, 8)
    assert_same(later(name, at_once(loss), X, feature_mask=mask).wait(), expected, 1e-10)
    assert_same(
        later(name, at_once(lambda x: float(loss(x))), X, feature_mask=mask).wait(), expected, 1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_that_answers_now_is_refused(name: str) -> None:
    with pytest.raises(AssertionError, match=r"torch\.futures\.Future"):
        later(name, MODEL, X, target=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_that_answers_later_is_refused_by_attribute(name: str) -> None:
    with pytest.raises(AssertionError, match="attribute_future"):
        ours(name, (at_once(MODEL),), X)


def test_an_error_of_the_forward_is_that_of_the_future() -> None:
    def failing(_: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        answer.set_exception(ZeroDivisionError("later"))  # type: ignore[arg-type]
        return answer

    with pytest.raises(ZeroDivisionError, match="later"):
        later("FeatureAblation", failing, X).wait()


def test_several_perturbations_of_a_loss_at_once_are_an_error_of_the_future() -> None:
    result = later("FeatureAblation", at_once(lambda x: x.sum()), X, perturbations_per_eval=2)
    with pytest.raises(NotPerRow, match="takes them alone"):
        result.wait()


def test_a_bar_reaches_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    later("FeatureAblation", at_once(MODEL), X, target=0, show_progress=True).wait()
    assert "Feature Ablation attribution: 100%" in capsys.readouterr().err


def test_a_single_example_has_nobody_to_exchange_with_later_either(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = later("FeaturePermutation", at_once(MODEL), X[:1], target=0).wait()
    assert torch.equal(answer, torch.zeros(1, 8, dtype=torch.float64))
    assert "single example" in caplog.text
