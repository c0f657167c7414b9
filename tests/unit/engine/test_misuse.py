"""The library's answers to arguments of the wrong form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adcaptum.engine import METHODS, Explicand, InvalidArgument, explain
from adcaptum.engine.vocabulary.parameters import Parameter, ParameterType, describe
from tests.models import mlp

INPUTS = torch.ones(1, 8, dtype=torch.float64)


def wrong_values() -> list[Any]:
    """Each bounded parameter below its least value, each choice as an unknown word."""

    def wrong(known: Parameter) -> object:
        if known.type is ParameterType.CHOICE:
            return "no such word"
        number = isinstance(known.default, int | float) or known.default is None
        return known.minimum - 1 if known.minimum is not None and number else "text"

    return [
        pytest.param(name, known.name, wrong(known), id=f"{name}-{known.name}")
        for name, method in METHODS.items()
        for known in describe(method)
    ]


@pytest.mark.parametrize(("name", "field", "value"), wrong_values())
def test_a_wrong_parameter_is_named(name: str, field: str, value: object) -> None:
    given: dict[str, object] = {"neuron": (0,)} if name == "neuron_conductance" else {}
    with pytest.raises(InvalidArgument) as caught:
        explain(mlp(), METHODS[name](**given | {field: value}), Explicand.of(INPUTS, target=0))
    assert caught.value.field == field


def test_a_parameter_of_the_method_within_a_method_is_checked() -> None:
    method: Any = METHODS["smooth_grad"]
    inner: Any = METHODS["integrated_gradients"]
    with pytest.raises(InvalidArgument, match="n_steps is 0: at least 1"):
        explain(mlp(), method(of=inner(n_steps=0)), Explicand.of(INPUTS, target=0))


@pytest.mark.parametrize("method", ["saliency", METHODS["saliency"]], ids=["name", "class"])
def test_a_method_has_to_be_an_instance(method: Any) -> None:
    with pytest.raises(InvalidArgument, match=r'such as METHODS\["saliency"\]\(\)'):
        explain(mlp(), method, Explicand.of(INPUTS, target=0))


def test_an_unknown_method_brings_the_nearest_names() -> None:
    with pytest.raises(KeyError, match="Did you mean 'integrated_gradients'"):
        METHODS["integrated_gradient"]
    assert "integrated_gradient" not in METHODS


def test_a_site_is_not_a_name() -> None:
    at: Any = "encoder"
    with pytest.raises(InvalidArgument, match=r"at is encoder: a Site"):
        Explicand.of(INPUTS, target=0, at=at)


def test_the_cost_of_a_parameter_is_the_callers_own() -> None:
    method: Any = METHODS["integrated_gradients"]
    answer = explain(mlp(), method(n_steps=10_001), Explicand.of(INPUTS, target=0))
    assert answer.rows_used > 10_000
