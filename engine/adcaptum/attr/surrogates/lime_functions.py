"""Lime's default functions, in the form of the functions that callers may pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Tensors
from adcaptum.attr.facade.masks import format_feature_mask, whole_numbers

Distance = Literal["cosine", "euclidean"]


@dataclass(frozen=True, slots=True)
class ExponentialSimilarity:
    """The similarity exp(-distance^2 / (2 kernel_width^2)) of inputs.

    Attributes:
        distance_mode: One less the cosine of the angle, or the length of the difference.
        kernel_width: The distance at which similarity has fallen to exp(-1/2).
    """

    distance_mode: Distance
    kernel_width: float

    def __call__(
        self, original: Tensors, perturbed: Tensors, _interpretable: object, **_kwargs: object
    ) -> float:
        """Returns the similarity of an input and a perturbed one."""
        a, b = _flat(original), _flat(perturbed)
        if self.distance_mode == "cosine":
            distance = 1 - float(cosine_similarity(a, b, dim=0))
        else:
            distance = float((a - b).norm())
        return exp(-(distance**2) / (2 * self.kernel_width**2))


def get_exp_kernel_similarity_function(
    distance_mode: Distance = "cosine", kernel_width: float = 1.0
) -> ExponentialSimilarity:
    """Returns the default similarity of Lime.

    Raises:
        InvalidInput: If the mode is neither cosine nor euclidean, or the width not above zero; also
            a ValueError.
    """
    if distance_mode not in {"cosine", "euclidean"}:
        raise InvalidInput("distance_mode", repr(distance_mode), "cosine or euclidean")
    if kernel_width <= 0:
        raise InvalidInput("kernel_width", kernel_width, "above zero")
    return ExponentialSimilarity(distance_mode, kernel_width)


def default_perturb_func(original_inp: Tensors, **kwargs: Any) -> Tensor:
    """Draws each interpretable feature present or absent, (1, num_interp_features)."""
    if "num_interp_features" not in kwargs:
        raise InvalidInput("num_interp_features", "not given", "how many coins to flip")
    like = original_inp if isinstance(original_inp, Tensor) else original_inp[0]
    return torch.randint(2, (1, kwargs["num_interp_features"])).to(like.device)


def every_coalition(features: int, device: torch.device) -> Iterator[Tensor]:
    """Yields each set of present features once, (1, features)."""
    places = torch.arange(features, device=device)
    for coalition in range(2**features):
        yield (coalition >> places & 1)[None]


def default_from_interp_rep_transform(
    curr_sample: Tensor, original_inputs: Tensors, **kwargs: Any
) -> Tensors:
    """Returns the inputs with absent features at the baselines.

    Args:
        curr_sample: Which features are present, (1, features).
        original_inputs: The inputs.
        **kwargs: `feature_mask` and `baselines`, in the container of the inputs.
    """
    for name in ("feature_mask", "baselines"):
        if name not in kwargs:
            raise InvalidInput(name, "not given", "needed to show features in the inputs")
    masks, baselines = kwargs["feature_mask"], kwargs["baselines"]
    if isinstance(original_inputs, Tensor):
        return _shown(curr_sample, original_inputs, masks, baselines)
    return tuple(
        _shown(curr_sample, t, mask, baseline)
        for t, mask, baseline in zip(original_inputs, masks, baselines, strict=True)
    )


def interpretable_masks(call: CaptumCall) -> tuple[tuple[Tensor, ...], int]:
    """Returns each element's interpretable feature, from 0, and the number of features.

    Numbers of the mask that no element has are features, too.
    """
    return _from_zero(call.explicand.feature_mask, call.explicand.inputs)


def construct_feature_mask(
    feature_mask: Tensors | None, formatted_inputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], int]:
    """Returns masks as a tuple, their numbers from 0, and the number of features.

    Args:
        feature_mask: A mask, or one for each input; None: each element is a feature.
        formatted_inputs: The inputs, (examples, *features) each.
    """
    given = None if feature_mask is None else whole_numbers("feature_mask", feature_mask)
    return _from_zero(given, formatted_inputs)


def _from_zero(
    feature_mask: tuple[Tensor, ...] | None, inputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], int]:
    masks = format_feature_mask(feature_mask, inputs)
    low = min((int(m.min()) for m in masks if m.numel()), default=0)
    if low != 0:
        warnings.warn(
            f"the feature mask's smallest number is {low}: all are moved to start at 0",
            stacklevel=5,
        )
        masks = tuple(m - low for m in masks)
    return masks, 1 + max((int(m.max()) for m in masks if m.numel()), default=-1)


def _shown(sample: Tensor, t: Tensor, mask: Tensor, baseline: Tensor | float) -> Tensor:
    present = sample[0].to(t.device)[mask.to(t.device)].bool()
    # Selected, not multiplied: NaN stays where it is present.
    return torch.where(present, t, torch.as_tensor(baseline, device=t.device))


def _flat(tensors: Tensors) -> Tensor:
    each = (tensors,) if isinstance(tensors, Tensor) else tensors
    return torch.cat([t.flatten().float() for t in each])
