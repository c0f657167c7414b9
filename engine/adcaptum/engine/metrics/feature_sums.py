"""Attributions of features."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.games.features import Features


def feature_sums(features: Features, attributions: tuple[Tensor, ...]) -> Tensor:
    """Sums attributions over each feature's elements, float64 on the CPU, (examples, features)."""
    return features.totals([a.detach().cpu().to(torch.float64) for a in attributions])
