"""AttackComparator against Captum's."""

from __future__ import annotations

import inspect
from collections import namedtuple
from typing import Any

import pytest
import torch
from captum import robust as captum
from captum.testing.helpers.basic_models import BasicModel, BasicModel_MultiLayer
from torch import Tensor, nn

from adcaptum import robust
from adcaptum.attr.errors import InvalidInput
from tests.captum_oracle import silently

Result = namedtuple("Result", "accuracy output")  # noqa: PYI024 - Captum's tests have it untyped
PACKAGES = (robust, captum)


def metric(outputs: Tensor, target: int, named: bool = False) -> Any:
    right = (outputs.argmax(1) == target).float()
    value = outputs[:, target]
    return Result(right, value) if named else (right, value)


def without_column(rows: Tensor, column: int) -> Tensor:
    mask = torch.ones_like(rows)
    mask[:, column] = 0.0
    return mask * rows


class EachColumn:
    """Another column each time."""

    def __init__(self) -> None:
        self.count = 0

    def perturb(self, rows: Tensor) -> Tensor:
        self.count += 1
        return without_column(rows, (self.count - 1) % rows.shape[1])


def letters(texts: list[list[str]]) -> Tensor:
    return torch.tensor([[float(ord(word[0])) for word in text] for text in texts])


def with_a(texts: list[list[str]]) -> list[list[str]]:
    return [["a" + word for word in text] for text in texts]


def same(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            same(mine[key], theirs[key])
    elif isinstance(theirs, tuple):
        assert isinstance(mine, tuple)
        assert getattr(mine, "_fields", None) == getattr(theirs, "_fields", None)
        for one, other in zip(mine, theirs, strict=True):
            same(one, other)
    else:
        mine, theirs = torch.as_tensor(mine), torch.as_tensor(theirs)
        torch.testing.assert_close(mine, theirs, check_dtype=False)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_attacks_on_rows_are_compared_as_captum_does(at_once: int, named: bool) -> None:
    answers = []
    model = BasicModel()
    for package in PACKAGES:
        compared: Any = package.AttackComparator(model, metric)
        for column in (0, -1):
            compared.add_attack(
                without_column, name=f"column {column}", attack_kwargs={"column": column}
            )
        compared.add_attack(
            package.FGSM(model),
            attack_kwargs={"epsilon": 0.5},
            additional_attack_arg_names=["target"],
        )
        compared.add_attack(EachColumn().perturb, name="each", num_attempts=5)
        found = [
            silently(compared.evaluate, rows, target=t, named=named, perturbations_per_eval=at_once)
            for rows, t in (
                (torch.tensor([[2.0, -9.0, 9.0, 1.0, -3.0], [1.0, 0.0, 0.0, 1.0, 2.0]]), 0),
                (torch.tensor([[1.0, 2.0, -3.0, 4.0, -5.0]]), 4),
            )
        ]
        answers.append([*found, compared.summary()])
        compared.reset()
        assert compared.summary() == {}
    for mine, theirs in zip(*answers, strict=True):
        same(mine, theirs)
    assert set(answers[0][0]["each"]) == {"mean", "min", "max"}
    assert "each Max Attempt" in answers[0][-1]


@pytest.mark.parametrize("at_once", [1, 3])
def test_texts_are_changed_before_they_are_preprocessed(at_once: int) -> None:
    answers = []
    for package in PACKAGES:
        compared: Any = package.AttackComparator(BasicModel_MultiLayer(), metric, letters)
        compared.add_attack(
            EachColumn().perturb, name="columns", num_attempts=5, apply_before_preproc=False
        )
        compared.add_attack(with_a, name="letters")
        found = compared.evaluate(
            [["abc", "zyd", "ghi"], ["mnop", "qrs", "Tuv"]],
            additional_forward_args=torch.ones(2, 3) * -97,
            perturbations_per_eval=at_once,
            target=0,
        )
        answers.append((found, compared.summary()))
    same(*answers)


def test_numbers_that_are_no_tuples_and_outputs_that_are_no_tensors() -> None:
    def outputs(rows: Tensor) -> dict[str, Tensor]:
        return {"sum": rows.sum(1)}

    compared = robust.AttackComparator(outputs, lambda found: found["sum"].mean().item())
    compared.add_attack(lambda rows: rows * 2, name="twice")
    compared.add_attack(lambda rows: rows * 3, name="thrice")
    found = compared.evaluate(torch.ones(2, 3), perturbations_per_eval=3)
    same(found, {"Original": 3.0, "twice": {"mean": 6.0}, "thrice": {"mean": 9.0}})


def test_wrong_arguments_are_named() -> None:
    compared = robust.AttackComparator(BasicModel(), metric)
    compared.add_attack(with_a, name="letters", additional_attack_arg_names=["strength"])
    with pytest.raises(RuntimeError, match="same name as existing attack letters"):
        compared.add_attack(with_a, name="letters")
    with pytest.raises(InvalidInput, match="num_attempts is 0"):
        compared.add_attack(with_a, name="none", num_attempts=0)
    with pytest.raises(InvalidInput, match="perturbations_per_eval is 0"):
        compared.evaluate(torch.ones(1, 2), perturbations_per_eval=0, target=0)
    plain = robust.AttackComparator(nn.Identity(), lambda outputs, column: outputs[:, column])
    plain.add_attack(without_column, additional_attack_arg_names=["column", "row"])
    with pytest.warns(UserWarning, match="sample arg row not provided for function"):
        plain.evaluate(torch.ones(1, 2), column=0)
    with pytest.raises(AssertionError, match="training mode"):
        robust.AttackComparator(nn.Dropout(), metric).evaluate(torch.ones(1, 2), target=0)


@pytest.mark.parametrize("method", ["__init__", "add_attack", "evaluate", "summary", "reset"])
def test_the_signatures_are_captums(method: str) -> None:
    def plain(function: Any) -> list[Any]:
        found = inspect.signature(function).parameters.values()
        return [p.replace(annotation=p.empty) for p in found]

    mine, theirs = robust.AttackComparator, captum.AttackComparator
    assert plain(getattr(mine, method)) == plain(getattr(theirs, method))
