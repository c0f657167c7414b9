"""Copies of results: all numbers as they were, in one copy for each dtype."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.device import host_copies
from adcaptum.service.device.host_copies import copied, in_memory

META = torch.device("meta")


def test_copies_are_equal_whatever_their_shapes_and_dtypes() -> None:
    given = [
        torch.randn(3, 4),
        torch.randn(2, 2, 2).double(),
        torch.tensor(5.0),
        torch.arange(6).view(2, 3),
        torch.zeros(0, 7),
        torch.randn(4, 6).T,
        torch.tensor([True, False]),
        torch.randn(5, requires_grad=True),
    ]
    made = copied(given)
    for one, other in zip(given, made, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one.detach(), other)
        assert not other.requires_grad


def test_results_come_in_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(tensors: list[Tensor]) -> list[Tensor]:
        calls.append(len(tensors))
        return [torch.ones(t.shape, dtype=t.dtype) for t in tensors]

    monkeypatch.setattr(host_copies, "copied", counted)
    far = torch.zeros(2, 3, device=META)
    answer = Attribution(
        (far, torch.zeros(2, 1, device=META)),
        output=torch.zeros(2, device=META),
        stop_reason=StopReason.CONVERGED,
        rows_used=7,
    )
    near = torch.zeros(1)
    found = in_memory([[answer], (far, near), None, "text"])
    # The tensor that stands in two places is copied once.
    assert calls == [3]
    (made,) = found[0]
    assert [t.device.type for t in (*made.values, made.output)] == ["cpu"] * 3
    assert (made.rows_used, made.stop_reason) == (7, StopReason.CONVERGED)
    assert found[1][0] is made.values[0]
    assert found[1][1] is near
    assert found[2:] == [None, "text"]


def test_what_is_in_memory_stays_as_it_is() -> None:
    answer = Attribution((torch.ones(2, 3),), output=torch.ones(2))
    (found,) = in_memory([answer])
    assert found is answer
