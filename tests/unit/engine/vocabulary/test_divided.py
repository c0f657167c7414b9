"""An answer for several examples is divided into answers that joined make it again."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.vocabulary.attribution import (
    Attribution,
    StopReason,
    divided,
    joined,
)
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.site import INPUT


def whole(count: int) -> Attribution:
    return Attribution(
        values=(torch.randn(count, 3), torch.randn(count, 2, 2)),
        output=torch.randn(count),
        completeness_error=torch.rand(count),
        standard_error=torch.rand(count),
        standard_errors=(torch.rand(count, 3), torch.rand(count, 2, 2)),
        rows_used=7 * count,
        stop_reason=StopReason.EXHAUSTED,
        stop_reasons=(StopReason.CONVERGED,) * (count - 1) + (StopReason.EXHAUSTED,),
        uncovered_ops=("erfinv",),
    )


@pytest.mark.parametrize("counts", [[4], [1, 3], [2, 1, 1]])
def test_parts_joined_are_the_whole(counts: list[int]) -> None:
    answer = whole(4)
    parts = divided(answer, counts)
    assert [len(each.values[0]) for each in parts] == counts
    assert [each.rows_used for each in parts] == [7 * count for count in counts]
    again = joined(parts)
    for field in fields(Attribution):
        if field.name == "rows_used":
            continue
        one, other = getattr(answer, field.name), getattr(again, field.name)
        if isinstance(one, Tensor):
            assert torch.equal(one, other)
        elif isinstance(one, tuple) and one and isinstance(one[0], Tensor):
            assert all(map(torch.equal, one, other))
        else:
            assert one == other


def test_rows_are_shares_rounded_up() -> None:
    answer = Attribution((torch.zeros(4, 1),), rows_used=5)
    assert [each.rows_used for each in divided(answer, [1, 3])] == [2, 4]


# Explains no example without others.
TOGETHER = {"feature_permutation"}


@pytest.mark.parametrize("name", sorted(METHODS.keys() - TOGETHER))
def test_examples_explained_together_have_the_answers_that_they_have_alone(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(100, 3),
    ).eval()  # fmt: skip
    method = METHODS[name]()
    inputs, target = torch.randn(5, 1, 5, 5), [0, 2, 1, 1, 0]
    mask = (torch.arange(25) // 5).view(1, 1, 5, 5) if method.traits.feature_masks else None

    def asked(rows: slice) -> Explicand:
        return Explicand.of(
            inputs[rows],
            target=target[rows],
            baselines=0.1,
            at=Site("2") if needs_layer(method.traits.layer) else INPUT,
            feature_mask=mask,
            seed=5,
        )

    together = explain(model, method, asked(slice(0, 5)))
    for part, rows in zip(
        divided(together, [2, 1, 2]), (slice(0, 2), slice(2, 3), slice(3, 5)), strict=True
    ):
        alone = explain(model, method, asked(rows))
        for one, other in zip(alone.values, part.values, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
        for one, other in zip(alone.standard_errors, part.standard_errors, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-2, atol=1e-4)
        assert alone.stop_reason is part.stop_reason
        if alone.standard_error is not None:
            torch.testing.assert_close(
                part.standard_error, alone.standard_error, rtol=1e-2, atol=1e-4
            )
