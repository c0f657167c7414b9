"""LIME against a transcription of its definition."""

from __future__ import annotations

from math import exp

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.surrogates.bernoulli import Bernoulli
from adcaptum.engine.methods.surrogates.lime import Lime
from tests.models import cnn, numbers


def surrogate(
    samples: list[list[int]], outputs: list[float], weights: list[float], alpha: float
) -> Tensor:
    """Minimises sum_z pi(z) (f(z) - b - w z)^2 / sum_z pi(z) + alpha |w|^2, as a linear system.

    Ribeiro, Singh, Guestrin (2016), equations 1 and 2 with the squared loss and a ridge.
    """
    features = len(samples[0])
    left = torch.zeros(features + 1, features + 1, dtype=torch.float64)
    right = torch.zeros(features + 1, dtype=torch.float64)
    total = sum(weights)
    for sample, output, weight in zip(samples, outputs, weights, strict=True):
        z = torch.tensor([*sample, 1.0], dtype=torch.float64)
        left += weight / total * torch.outer(z, z)
        right += weight / total * output * z
    left[range(features), range(features)] += alpha
    return torch.linalg.solve(left, right)[:features]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_superpixels_have_the_slopes_of_the_definition(distance: str) -> None:
    model = cnn()
    images, baselines = numbers(2, 1, 8, 8), numbers(2, 1, 8, 8, seed=1)
    mask = ((torch.arange(8)[:, None] // 3) * 3 + torch.arange(8)[None] // 3).view(1, 1, 8, 8)
    method = Lime(60, "ridge", 0.05, distance, 2.0)  # type: ignore[arg-type]
    explicand = Explicand.of(images, target=[2, 0], baselines=baselines, feature_mask=mask, seed=3)
    (values,) = explain(model, method, explicand).values
    flips = Bernoulli(9, 60, 3).take(0, 60, torch.device("cpu")).long()
    samples = [[1] * 9, *flips.tolist()]
    for i, target in enumerate((2, 0)):
        outputs, weights = [], []
        for sample in samples:
            shown = images[i].clone()
            for feature, present in enumerate(sample):
                if not present:
                    covered = mask[0] == feature
                    shown[covered] = baselines[i][covered]
            a, b = images[i].flatten(), shown.flatten()
            if distance == "cosine":
                d = 1 - float(a @ b / (a.norm() * b.norm()))
            else:
                d = float((a - b).norm())
            with torch.no_grad():
                outputs.append(float(model(shown[None])[0, target]))
            weights.append(exp(-(d**2) / (2 * 2.0**2)))
        slopes = surrogate(samples, outputs, weights, 0.05)
        torch.testing.assert_close(values[i], slopes[mask[0]], rtol=1e-8, atol=1e-10)
