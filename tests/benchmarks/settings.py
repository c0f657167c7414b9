"""How each method is asked of each model: sizes that fit into a few minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of all methods, for one model and number of inputs.

    Attributes:
        n_steps: Of integrated gradients.
        samples: Of GradientShap and SmoothGrad.
        orders: Of Shapley value sampling.
        coalitions: Of KernelShap.
        window: Of occlusion.
        strides: Of occlusion.
        patch: Squares of so many pixels, or runs of so many tokens, are one feature for ablation
            and sampling; 0: each element is one.
        groups: How many features exact Shapley values take.
        only: The methods that are timed; empty: all.
    """

    n_steps: int
    samples: int
    orders: int
    coalitions: int
    window: tuple[int, ...]
    strides: tuple[int, ...]
    patch: int = 0
    groups: int = 5
    only: tuple[str, ...] = ()

    def parameters(self, method: str) -> Mapping[str, Any]:
        """The engine's parameters of a method."""
        path = {"n_steps": self.n_steps}
        samples = {"n_samples": self.samples}
        coalitions = {"n_samples": self.coalitions}
        known: dict[str, dict[str, Any]] = {
            "blur_integrated_gradients": path,
            "conductance": path,
            "expected_gradients": samples,
            "gradient_shap": samples,
            "guided_integrated_gradients": path,
            "integrated_gradients": path,
            "internal_influence": path,
            "kernel_shap": coalitions,
            "layer_gradient_shap": samples,
            "leverage_shap": coalitions,
            "lime": coalitions,
            "neuron_conductance": path,
            "occlusion": {"sliding_window_shapes": self.window, "strides": self.strides},
            "owen_sampling": {"n_samples": self.orders},
            "partition_shap": {"max_evals": self.coalitions},
            "rise": coalitions,
            "shapley_value_sampling": {"n_samples": self.orders},
            "smooth_grad": samples,
        }
        return known.get(method, {})

    def mask(self, method: str, like: Tensor) -> Tensor | None:
        """The features of a method that takes feature masks: (1, *features), or None."""
        if method in _ENUMERATED:
            numbers = torch.arange(like[0].numel()) * self.groups // like[0].numel()
            return numbers.view(1, *like.shape[1:])
        if not self.patch or method not in _MASKED:
            return None
        if like.dim() == 2:
            return (torch.arange(like.shape[1]) // self.patch).unsqueeze(0)
        _, _, height, width = like.shape
        rows = torch.arange(height) // self.patch
        columns = torch.arange(width) // self.patch
        across = -(-width // self.patch)
        return (rows[:, None] * across + columns).expand(1, *like.shape[1:]).contiguous()


_ENUMERATED: Final = ("shapley_values", "shapley_interactions")
_MASKED: Final = (
    "feature_ablation",
    "feature_permutation",
    "kernel_shap",
    "leverage_shap",
    "lime",
    "owen_sampling",
    "shapley_value_sampling",
)
_CHEAP: Final = ("saliency", "input_x_gradient", "integrated_gradients", "feature_ablation")

_CELLS: Final = Settings(50, 20, 26, 2000, (3,), (1,), groups=6)
_DIGITS: Final = Settings(50, 20, 26, 1000, (1, 3, 3), (1, 1, 1))
_CNN: Final = Settings(50, 20, 10, 300, (3, 8, 8), (3, 4, 4), patch=4)
_REVIEWS: Final = Settings(20, 10, 4, 128, (3,), (1,), groups=4)
_PHOTOS: Final = Settings(10, 5, 2, 64, (3, 56, 56), (3, 56, 56), patch=56, groups=4)

SETTINGS: Final[Mapping[tuple[str, int], Settings]] = MappingProxyType(
    {
        ("cells", 1): _CELLS,
        ("cells", 16): replace(_CELLS, coalitions=500, groups=5),
        ("digits", 1): _DIGITS,
        ("digits", 16): replace(_DIGITS, orders=4, coalitions=300, groups=4),
        ("cnn", 1): _CNN,
        ("cnn", 16): replace(
            _CNN, n_steps=20, samples=5, orders=2, coalitions=64, patch=8, groups=4
        ),
        ("reviews", 1): _REVIEWS,
        ("reviews", 16): replace(_REVIEWS, n_steps=5, patch=6, only=_CHEAP),
        ("photos", 1): _PHOTOS,
        ("photos", 16): replace(_PHOTOS, n_steps=3, only=_CHEAP[:2]),
    }
)
