"""Views of what is explained, and places that the model computes from it.

A shape, a view or an index that comes from a comparison must cut no gradient off; what picks other
elements at the input than at the baseline has no rule, and is listed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Attribution, Explicand, UncoveredOperations, explain
from tests.models import numbers

Function = Callable[[Tensor], Tensor]
_INPUT = torch.tensor([[-1.0, 2.0, 0.5, 0.7]], dtype=torch.float64)
_BASELINE = torch.tensor([[3.0, -1.0, 0.2, 1.0]], dtype=torch.float64)
_PARAMETER = nn.Parameter(numbers(4, 4, seed=3))
_EMBEDDING = nn.Embedding.from_pretrained(numbers(4, 2, seed=5), freeze=False)


def _explained(function: Function, **params: object) -> Attribution:
    question = Explicand.of(_INPUT, baselines=_BASELINE)
    return explain(function, METHODS["deep_lift"](**params), question)


def _missing(function: Function, answer: Attribution) -> float:
    change = function(_INPUT) - function(_BASELINE)
    return float((answer.values[0].sum() - change.detach()).abs())


def _each(function: Function) -> Function:
    return lambda x: torch.stack([function(row) for row in x])


def _without_gradient(function: Function) -> Function:
    """The input times what is computed of it without gradients."""

    def product(x: Tensor) -> Tensor:
        with torch.no_grad():
            other = function(x)
        return (x * other).sum(1)

    return product


SHAPES: dict[str, Function] = {
    "view_as": lambda x: x.view_as(x > 0).square().sum(1),
    "expand_as": lambda x: x.sum(1, keepdim=True).expand_as(x > 0).square().sum(1),
    "reshape_as": lambda x: x.reshape_as(x > 0).tanh().sum(1),
    "type_as": lambda x: x.type_as((x > 0).double()).square().sum(1),
    "broadcast_tensors": lambda x: torch.broadcast_tensors(x, x > 0)[0].square().sum(1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_the_shape_of_a_comparison_cuts_no_gradient_off(name: str, rule: str) -> None:
    answer = _explained(SHAPES[name], rule=rule, strict=True)
    assert answer.values[0].abs().sum() > 1
    assert _missing(SHAPES[name], answer) < 1e-12


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_nor_with_the_rectifiers_rules(method: str) -> None:
    question = Explicand.of(_INPUT)
    viewed = explain(lambda x: x.view_as(x > 0).relu().sum(1), METHODS[method](), question)
    plain = explain(lambda x: x.relu().sum(1), METHODS[method](), question)
    assert torch.equal(viewed.values[0], plain.values[0])
    assert viewed.uncovered_ops == ()


PLACES: dict[str, Function] = {
    "a number of a row": _each(lambda row: row[row.argmax()]),
    "a number of the last dimension": _each(lambda row: row[..., row.argmax()]),
    "a slice": _each(lambda row: row[row.argmax() :].sum()),
    # As long as the batch has rows, and by chance the numbers 0 and 1.
    "gather": lambda x: x.gather(1, x.argmin(1, keepdim=True))[:, 0],
    "take_along_dim": lambda x: torch.take_along_dim(x, x.argmin(1, keepdim=True), 1)[:, 0],
    "index of each row": lambda x: x[torch.arange(len(x)), x.argmin(1)],
    "a parameter's": _each(lambda row: _PARAMETER[row.argmax()].sum()),
    "an embedding's": lambda x: _EMBEDDING(x.argmax(1)).sum(1),
    "an embedding's of rounded numbers": lambda x: (
        _EMBEDDING(x.clamp(0, 3).round().long()).sum((1, 2)) * x[:, 0]
    ),
    "all but what a slice overwrites": _each(lambda row: _with_zeros(row).sum()),
}


def _with_zeros(row: Tensor) -> Tensor:
    changed = row.clone()
    changed[row.argmax() :] = 0.0
    return changed


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_places_that_differ_are_listed(name: str, rule: str) -> None:
    function = PLACES[name]
    answer = _explained(function, rule=rule)
    assert _missing(function, answer) > 0.1
    assert answer.uncovered_ops
    with pytest.raises(UncoveredOperations):
        _explained(function, rule=rule, strict=True)


CONSTANT: dict[str, Function] = {
    "columns": lambda x: x[:, torch.tensor([2, 0])].relu().sum(1),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0])).relu().sum(1),
    "of a transposed one": lambda x: x.T[torch.tensor([2, 0])].relu().sum(0),
    "keywords": lambda x: torch.gather(
        input=x, dim=1, index=torch.zeros(len(x), 1, dtype=torch.long)
    )[:, 0],
}


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_places_have_no_rows_however_many_they_are(name: str) -> None:
    answer = _explained(CONSTANT[name], strict=True)  # the batch has two rows
    assert _missing(CONSTANT[name], answer) < 1e-12


VIEWS: dict[str, Function] = {
    "view": lambda x: x.view(-1, 4),
    "T": lambda x: x.T.T,
    "slice": lambda x: x[:, :1],
    "unbind": lambda x: x.unbind(1)[0][:, None],
    "permute": lambda x: x[:, None].permute(0, 2, 1)[:, :, 0],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_without_gradients_are_listed(name: str) -> None:
    function = _without_gradient(VIEWS[name])
    answer = _explained(function)
    assert _missing(function, answer) > 0.1
    assert answer.uncovered_ops


@pytest.mark.parametrize("name", VIEWS)
def test_views_without_gradients_are_constants_to_lrp(name: str) -> None:
    view = VIEWS[name]
    method = METHODS["lrp"]()
    answer = explain(_without_gradient(view), method, Explicand.of(_INPUT))
    detached = explain(lambda x: (x * view(x.detach())).sum(1), method, Explicand.of(_INPUT))
    torch.testing.assert_close(answer.values, detached.values)
    assert answer.completeness_error is not None
    assert answer.completeness_error.max() < 1e-9
