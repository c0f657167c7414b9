"""Feature permutation against a transcription of its definition."""

from __future__ import annotations

import torch

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.perturbation.feature_permutation import FeaturePermutation
from adcaptum.engine.methods.perturbation.permutations import donors
from tests.models import cnn, numbers


def test_regions_of_images_are_those_of_another_image() -> None:
    """Fisher, Rudin, Dominici (2019), section 3.2: one feature is that of another example."""
    model, images = cnn(), numbers(4, 1, 8, 8)
    mask = (torch.arange(8) // 3)[None, None, :, None]
    targets = [2, 0, 1, 1]
    explicand = Explicand.of(images, target=targets, feature_mask=mask, seed=8)
    (values,) = explain(model, FeaturePermutation(), explicand, batch_rows=3).values
    for region in range(3):
        (givers,) = donors(8, torch.tensor([region]), 4).tolist()
        assert sorted(givers) == [0, 1, 2, 3]
        for i, (giver, target) in enumerate(zip(givers, targets, strict=True)):
            mixed = images[i].clone()
            rows = mask[0, 0, :, 0] == region
            mixed[0, rows] = images[giver, 0, rows]
            with torch.no_grad():
                lost = model(images[i : i + 1])[0, target] - model(mixed[None])[0, target]
            found = values[i, 0, rows]
            torch.testing.assert_close(found, lost.expand_as(found), rtol=1e-9, atol=1e-11)
