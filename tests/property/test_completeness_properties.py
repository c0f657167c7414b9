"""DeepLIFT is complete, or lists what it has no rule for: never neither, whatever a model does.

The models are written as people write them: masks, thresholds, choices, counts, spectra, ReLUs in
disguise. The oracle is the sum of the attributions in float64 against the outputs' difference.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given, settings, strategies as st
from torch import Tensor

from adcaptum.engine import METHODS, Attribution, Explicand, UncoveredOperations, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

Function = Callable[[Tensor], Tensor]

_EDGES = torch.tensor([-1.0, -0.3, 0.2, 0.9], dtype=torch.float64)

_zeros = torch.zeros(64, dtype=torch.float64)


def _set_to_zero(x: Tensor) -> Tensor:
    h = x.clone()
    h[h < 0] = 0
    return h


def _set_by_view(x: Tensor) -> Tensor:
    h = x.clone()
    h.view(-1)[h.view(-1) < 0] = 0.5
    return h


def _set_rows(x: Tensor) -> Tensor:
    h = x.clone()
    h[h.sum(1) < 0] = 0.5
    return h


def _set_selected(x: Tensor) -> Tensor:
    h = x.clone()
    h[h < 0] = h[h < 0] * 0.1
    return h


def _mask_built_by_hand(x: Tensor) -> Tensor:
    mask = torch.zeros_like(x)
    mask[x > 0] = 1
    return x * mask


def _mask_in_columns(x: Tensor) -> Tensor:
    mask = torch.zeros_like(x)
    mask[:, 0] = (x[:, 1] > 0).to(x.dtype)
    mask[:, 2] = x[:, 2] > 0
    return x * mask


def _mask_overwritten(x: Tensor) -> Tensor:
    mask = x > 0
    mask &= x < 1
    mask |= x < -1
    return x * mask


def _view_overwritten(x: Tensor) -> Tensor:
    mask = x > 0
    view = mask.view(-1)
    mask[:, 0] = True
    return x * view.view(x.shape)


def _top_by_scatter(x: Tensor) -> Tensor:
    return x * torch.zeros_like(x).scatter(1, x.topk(3, 1).indices, 1.0)


def _top_in_place(x: Tensor) -> Tensor:
    mask = torch.zeros_like(x)
    mask.scatter_(1, x.topk(3, 1).indices, 1.0)
    return x * mask


def _detached_and_overwritten(x: Tensor) -> Tensor:
    h = x * 2
    h.detach().clamp_(min=0)
    return h


def _without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().amax(1, keepdim=True)
    return x / scale


def _overwritten_without_gradient(x: Tensor) -> Tensor:
    h = x * 2
    with torch.no_grad():
        h.clamp_(min=0)
    return h


def _mask_without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        mask = x > 0.1
    return x * mask


def _positives(x: Tensor) -> Tensor:
    mask = (x > 0).to(x.dtype)
    return ((x * mask).sum(1) / mask.sum(1).clamp(min=1))[:, None]


def _softmax_without_overflow(x: Tensor) -> Tensor:
    e = (x - x.max(1, keepdim=True).values.detach()).exp()
    return e / e.sum(1, keepdim=True)


COMPLETE: dict[str, Function] = {
    "times its sign": lambda x: x * (x > 0),
    "times its sign, cast": lambda x: x * (x > 0).to(x.dtype),
    "times its sign, to like": lambda x: x * (x > 0).to(x),
    "times its sign, type": lambda x: x * (x > 0).type_as(x),
    "sign alone": lambda x: (x > 0).double(),
    "sign bit": lambda x: x * torch.signbit(x),
    "mask turned round": lambda x: x * ~(x <= 0),
    "mask in place": lambda x: x.clone().mul_(x > 0),
    "mask added": lambda x: x + (x > 0),
    "mask taken": lambda x: x - (x > 0).double(),
    "mask of masks": lambda x: x * ((x > 0) & (x < 1) | (x < -1)),
    "masks that differ": lambda x: x * ((x > 0) ^ (x.flip(1) > 0)),
    "logical": lambda x: x * torch.logical_and(x, torch.logical_not(x > 1)),
    "compared with each other": lambda x: x * (x > x.flip(1)),
    "as large as the largest": lambda x: x * (x >= x.amax(1, keepdim=True)),
    "any": lambda x: x * (x > 0.5).any(1, keepdim=True),
    "all": lambda x: x * (x > -1).all(1, keepdim=True),
    "equal parts": lambda x: x * x.round().eq(0),
    "choice": lambda x: torch.where(x > 0, x, 0),
    "choice of two": lambda x: torch.where(x > 0, x.exp(), -x.square()),
    "choice by a row": lambda x: torch.where(x.sum(1, keepdim=True) > 0, x, x.tanh()),
    "choice of constants": lambda x: x * torch.where(x > 0, 2.0, 3.0),
    "choice where one is infinite": lambda x: torch.where(x > 0, x.log(), x),
    "choice, method": lambda x: x.where(x > 0, 0.1 * x),
    "filled": lambda x: x.masked_fill(x < 0, 0),
    "filled in place": lambda x: x.clone().masked_fill_(x < 0, 0.25),
    "larger of two": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "largest of two": lambda x: torch.max(x, torch.zeros(())),
    "set": _set_to_zero,
    "set in a view": _set_by_view,
    "set in rows": _set_rows,
    "mask by hand": _mask_built_by_hand,
    "mask in columns": _mask_in_columns,
    "mask overwritten": _mask_overwritten,
    "mask without gradient": _mask_without_gradient,
    "buckets": lambda x: x * torch.bucketize(x, _EDGES),
    "buckets, searched": lambda x: x * torch.searchsorted(_EDGES, x.contiguous()),
    "whole numbers": lambda x: x * x.long(),
    "whole numbers, cast": lambda x: x * (3 * x).to(torch.int32),
    "truth": lambda x: x * (x.relu().bool()),
    "counted": lambda x: x / (1 + (x > 0).sum(1, keepdim=True)),
    "counted in order": lambda x: x * (x > 0).cumsum(1),
    "mean of the positive": _positives,
    "matrix of a mask": lambda x: (x > 0).double() @ numbers(8, 8, seed=5) * x,
    "mask stacked": lambda x: x * torch.stack([x > 0, x > 1]).sum(0),
    "mask expanded": lambda x: x[:, None] * (x > 0)[:, :, None].expand(-1, -1, 8),
    "detached": lambda x: x * x.detach(),
    "straight through": lambda x: (x > 0).to(x.dtype) + x.sigmoid() - x.sigmoid().detach(),
    "softmax with its maximum detached": _softmax_without_overflow,
    "detached, counted": lambda x: x * (x.detach() > 0).sum(1, keepdim=True),
    "rows second": lambda x: ((x.T > 0) * x.T).T,
    "rows second, choice": lambda x: torch.where(x.T > 0, x.T, 0.1 * x.T).T,
    "steps": lambda x: x.sign() + x.floor() * x.round(),
    "windows": lambda x: F.unfold(x.view(-1, 1, 2, 4).square(), 2).flatten(1),
    "windows, padded": lambda x: F.unfold(x.view(-1, 1, 2, 4).relu(), 2, padding=1).tanh().sum(1),
    "windows folded": lambda x: F.fold(F.unfold(x.view(-1, 1, 2, 4), 2).relu(), (2, 4), 2).flatten(
        1
    ),
    "complex square": lambda x: torch.view_as_complex(x.reshape(-1, 4, 2)).square().imag,
    "complex mask": lambda x: (torch.fft.rfft(x) * (torch.fft.rfft(x).abs() > 1)).abs(),
}
"""Models that have to be explained completely."""

LISTED: dict[str, tuple[Function, set[str]]] = {
    "set to what was selected": (_set_selected, {"getitem"}),
    "scattered by a mask": (lambda x: x.masked_scatter(x < 0, _zeros), {"masked_scatter"}),
    "one of many": (lambda x: x * F.one_hot(x.argmax(1), 8), {"argmax", "one_hot"}),
    "times the place": (lambda x: x * x.argmax(1, keepdim=True), {"argmax"}),
    "place alone": (lambda x: x.argmax(1, keepdim=True).double() + 0 * x, {"argmax"}),
    "top, scattered": (_top_by_scatter, {"topk", "scatter"}),
    "top, scattered in place": (_top_in_place, {"topk", "scatter"}),
    "top, by a threshold": (lambda x: x * (x >= x.topk(3, 1).values[:, -1:]), {"topk"}),
    "place of the largest": (lambda x: x * x.max(1, keepdim=True).indices, {"max"}),
    "embedded place": (lambda x: x * F.embedding(x.argmax(1), _zeros.view(8, 8)), {"argmax"}),
    "selected, mean": (lambda x: x + x[x > 0].mean(), {"getitem"}),
    "a number of Python": (lambda x: x * x[0, 0].item(), {"item"}),
    "an array": (lambda x: x * torch.from_numpy(x.detach().numpy() ** 2), {"numpy"}),
    "a view overwritten": (_view_overwritten, {"setitem", "copy"}),
    "detached and overwritten": (_detached_and_overwritten, {"clamp"}),
    "scale without gradient": (_without_gradient, {"amax", "abs"}),
    "overwritten without gradient": (_overwritten_without_gradient, {"clamp"}),
    "masked softmax": (lambda x: x.masked_fill(x < 0, -torch.inf).softmax(1), {"masked_fill"}),
    "bits": (lambda x: x * ((3 * x).long() & 1), {"__and__"}),
}  # fmt: skip
"""Models with operations without a rule, and names of which some must be listed."""

_before, _after = numbers(8, 8, seed=9), numbers(64, 3, seed=8)


def around(function: Function) -> Function:
    """A network with the function in the middle, (rows, 8) -> (rows, 3)."""

    def forward(x: Tensor) -> Tensor:
        h = function(torch.tanh(x @ _before) * 2).flatten(1)
        return h @ _after[: h.shape[1]]

    return forward


def explained(function: Function, rule: str, *, seed: int = 0, strict: bool = False) -> Attribution:
    """Three examples, two of which share a baseline; a part of what is compared is equal."""
    x, x0 = numbers(3, 8, seed=seed), numbers(3, 8, seed=seed + 100)
    x0[2] = x0[0]
    x0[1, :4] = x[1, :4]
    question = Explicand.of(x, baselines=x0, target=[0, 1, 2])
    method = resolve(METHODS["deep_lift"], {"rule": rule, "strict": strict})
    return explain(around(function), method, question)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", COMPLETE)
def test_it_is_complete(name: str, rule: str) -> None:
    for seed in range(3):
        answer = explained(COMPLETE[name], rule, seed=seed)
        assert answer.completeness_error is not None
        assert answer.uncovered_ops == ()
        assert float(answer.completeness_error.max()) < 1e-9


@pytest.mark.parametrize("name", LISTED)
def test_it_is_listed_and_refused_if_strict(name: str) -> None:
    function, names = LISTED[name]
    answer = explained(function, "rescale")
    assert names & set(answer.uncovered_ops)
    with pytest.raises(UncoveredOperations):
        explained(function, "rescale", strict=True)


_ALL = {**COMPLETE, **{name: function for name, (function, _) in LISTED.items()}}
_SQUARE = [n for n in _ALL if n not in {"windows", "windows, padded"}]


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from(_SQUARE), min_size=2, max_size=3),
    seed=st.integers(0, 99),
    rule=st.sampled_from(["rescale", "reveal_cancel"]),
)
def test_several_in_a_row_are_complete_or_listed(names: list[str], seed: int, rule: str) -> None:
    def chained(x: Tensor) -> Tensor:
        for name in names:
            h = _ALL[name](x).flatten(1)
            x = torch.tanh(h @ _after[: h.shape[1]]) @ numbers(3, 8, seed=6)
        return x

    answer = explained(chained, rule, seed=seed)
    assert answer.completeness_error is not None
    assert answer.uncovered_ops or float(answer.completeness_error.max()) < 1e-9


def test_rows_do_not_depend_on_those_beside_them() -> None:
    x, x0 = numbers(3, 8), numbers(3, 8, seed=1)
    for function in COMPLETE.values():
        together, *apart = (
            explain(
                around(function),
                METHODS["deep_lift"](),
                Explicand.of(x[rows], baselines=x0[rows], target=1),
            ).values[0]
            for rows in (slice(None), [0], [1], [2])
        )
        torch.testing.assert_close(together, torch.cat(apart), rtol=1e-9, atol=1e-9)


def test_a_comparison_far_from_any_reference_is_that_of_the_issue() -> None:
    question = Explicand.of(torch.tensor([[-1.0, 2]]), baselines=torch.tensor([[3.0, -1]]))
    answer = explain(lambda x: (x * (x > 0)).sum(1), METHODS["deep_lift"](), question)
    torch.testing.assert_close(answer.values[0], torch.tensor([[-3.0, 2]]))


def test_a_jump_beside_the_reference_is_seen() -> None:
    question = Explicand.of(
        torch.tensor([[1e-10]]).double(), baselines=torch.tensor([[-1e-10]]).double()
    )
    for function in (torch.sign, torch.floor, lambda x: (x > 0).double()):
        answer = explain(lambda x, f=function: f(x).sum(1), METHODS["deep_lift"](), question)
        assert answer.completeness_error is not None
        assert float(answer.completeness_error.max()) < 1e-9
