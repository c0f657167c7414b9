"""Methods that are made without `resolve` are held to the same choices and bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, InvalidArgument, explain
from adcaptum.engine.vocabulary.parameters import Parameter, ParameterType, describe

_MADE: dict[str, Any] = dict(METHODS)


def _total(x: Tensor) -> Tensor:
    return x.sum(1)


def _wrong(parameter: Parameter) -> list[object]:
    """Values that the parameter may not have."""
    below = [] if parameter.minimum is None else [parameter.minimum - 1]
    match parameter.type:
        case ParameterType.CHOICE:
            return ["no such word"]
        case ParameterType.INTEGER:
            return [2.5, "3", True, *(int(b) for b in below)]
        case ParameterType.NUMBER:
            above = [] if parameter.maximum is None else [parameter.maximum + 1]
            return [float("nan"), *below, *above]
    return []


@pytest.mark.parametrize("name", METHODS)
def test_values_that_are_not_allowed_are_refused_with_their_name(name: str) -> None:
    for parameter in describe(METHODS[name]):
        for value in _wrong(parameter):
            method = _MADE[name](**{parameter.name: value})
            with pytest.raises(InvalidArgument, match=f"{parameter.name} is "):
                explain(_total, method, Explicand.of(torch.ones(2, 3)))


def test_so_are_those_of_a_method_within_a_method() -> None:
    inner = _MADE["integrated_gradients"](method="simpson")
    with pytest.raises(InvalidArgument, match="method is 'simpson': one of gauss"):
        explain(_total, _MADE["smooth_grad"](of=inner), Explicand.of(torch.ones(1, 2)))


def test_more_steps_than_a_service_allows_are_the_callers_own_affair() -> None:
    method = _MADE["integrated_gradients"](n_steps=10_001)
    answer = explain(_total, method, Explicand.of(torch.ones(1, 2)))
    torch.testing.assert_close(answer.values[0], torch.ones(1, 2))
