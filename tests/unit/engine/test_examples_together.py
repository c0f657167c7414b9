"""Examples that are explained together have the answers that they have alone, of every method."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.site import INPUT

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
    for rows in (slice(0, 2), slice(2, 3), slice(3, 5)):
        alone = explain(model, method, asked(rows))
        for one, other in zip(alone.values, together.values, strict=True):
            torch.testing.assert_close(other[rows], one, rtol=1e-3, atol=1e-4)
        for one, other in zip(alone.standard_errors, together.standard_errors, strict=True):
            torch.testing.assert_close(other[rows], one, rtol=1e-2, atol=1e-4)
        for example in range(rows.stop - rows.start):
            assert alone.reason(example) is together.reason(rows.start + example)
        for field in ("output", "baseline_output", "standard_error"):
            one, other = getattr(alone, field), getattr(together, field)
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(other[rows], one, rtol=1e-2, atol=1e-4)
