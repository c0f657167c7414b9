"""What the gradient methods of the facade refuse, and with which type of error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from adcaptum import attr
from tests.captum_oracle import captums, ours
from tests.gradient_calls import AT_LAYERS, CALLS, RANDOM, WITH_BATCHES, X, explain
from tests.models import mlp


@pytest.mark.parametrize("name", WITH_BATCHES)
def test_an_internal_batch_size_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(AssertionError, match="at least 1"):
        explain(name, mlp(), internal_batch_size=0)


@pytest.mark.parametrize("name", CALLS)
def test_a_model_in_training_mode_is_refused(name: str) -> None:
    """B32: Captum lets the statistics of a batch norm change."""
    norm = nn.BatchNorm1d(16)
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.Linear(16, 3)).double()
    with pytest.raises(AssertionError, match=r"model\.eval\(\)"):
        explain(name, model)
    assert norm.running_mean is not None
    assert not norm.running_mean.any()


@pytest.mark.parametrize("name", [name for name, c in CALLS.items() if "target" in c.arguments])
@pytest.mark.parametrize(
    ("target", "error"),
    [
        (3, IndexError),
        ([0, 1, -4], IndexError),
        ((0, 0), AssertionError),
        (None, AssertionError),
        ([0, 1], AssertionError),
        (torch.tensor([0, 1]), AssertionError),
        (torch.tensor([0.0, 1.0, 2.0]), AssertionError),
        (1.0, AssertionError),
        ("1", AssertionError),
        ([0.0, 1.0, 2.0], AssertionError),
    ],
    ids=str,
)
def test_a_target_that_does_not_fit_is_captums_error(
    name: str, target: Any, error: type[Exception]
) -> None:
    call, model = CALLS[name], mlp()
    with pytest.raises(error, match="target"):
        ours(name, call.construct(model), X, **{**call.arguments, "target": target})


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_a_tensor_or_a_tuple(name: str) -> None:
    with pytest.raises(AssertionError, match="inputs"):
        explain(name, mlp(), [X])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [name for name, c in CALLS.items() if "baselines" in c.arguments and name not in RANDOM]
)
@pytest.mark.parametrize(
    "baselines", ["zero", [0.0], torch.zeros(2, 8), torch.zeros(1, 7), (0.0, 0.0)], ids=str
)
def test_baselines_that_do_not_fit_are_assertion_errors(name: str, baselines: Any) -> None:
    call = CALLS[name]
    with pytest.raises(AssertionError, match="baselines"):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "baselines": baselines})


@pytest.mark.parametrize("name", sorted(RANDOM))
@pytest.mark.parametrize("baselines", [0.0, None, (torch.zeros(1, 8), torch.zeros(1, 8))], ids=str)
def test_a_distribution_is_a_tensor_for_each_input(name: str, baselines: Any) -> None:
    call = CALLS[name]
    with pytest.raises(AssertionError, match="baselines"):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "baselines": baselines})


@pytest.mark.parametrize("name", WITH_BATCHES)
def test_an_unknown_rule_or_no_step_is_an_assertion_error(name: str) -> None:
    with pytest.raises(AssertionError, match="method"):
        explain(name, mlp(), method="simpson")
    with pytest.raises(AssertionError, match="n_steps"):
        explain(name, mlp(), n_steps=0)


@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_a_layer_that_is_not_reached_is_an_assertion_error(name: str) -> None:
    model = mlp()
    call = CALLS[name]
    with pytest.raises(AssertionError, match="does not reach"):
        ours(name, (model, nn.Linear(2, 2)), X, **call.arguments)


@pytest.mark.parametrize("name", [name for name in CALLS if "Neuron" in name])
@pytest.mark.parametrize(
    ("selector", "error"),
    [(16, IndexError), ((0, 0), AssertionError), ("0", AssertionError)],
    ids=str,
)
def test_a_neuron_that_is_not_there_is_captums_error(
    name: str, selector: Any, error: type[Exception]
) -> None:
    call = CALLS[name]
    with pytest.raises(error):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "neuron_selector": selector})


def test_integer_inputs_are_refused_with_what_to_do_where_captum_makes_them_floats() -> None:
    model = nn.Linear(8, 1)
    ids = torch.arange(8)[None]
    assert captums("IntegratedGradients", (model,), ids).is_floating_point()
    with pytest.raises(AssertionError, match="name the embedding layer"):
        attr.IntegratedGradients(model).attribute(ids)
