"""Feature masks in Captum's forms: whole numbers of any dtype; and Captum's helpers of them."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.forms import Tensors
from adcaptum.engine.vocabulary.explicand_forms import check_dense


def whole_numbers(name: str, masks: Tensors) -> tuple[Tensor, ...]:
    """Returns feature masks as integer tensors, one per input.

    Captum compares a mask's numbers and takes any dtype: floats that hold whole numbers, and bool.

    Args:
        name: The argument's name in errors.
        masks: A tensor, or a tuple of them.

    Raises:
        InvalidInput: If one is no dense tensor, or holds fractions.
    """
    each = masks if isinstance(masks, tuple) else (masks,)
    return tuple(_whole(f"{name}[{i}]", mask) for i, mask in enumerate(each))


def like_values(masks: Tensors | None, values: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Returns masks of a layer's tensors, laid along the last dimensions as tensors broadcast.

    Raises:
        InvalidInput: If there is not one for each tensor, or one is not of whole numbers.
    """
    if masks is None:
        return None
    each = whole_numbers("layer_mask", masks)
    if len(each) != len(values):
        raise InvalidInput(
            "layer_mask", f"{len(each)} of them", f"one per tensor of the layer: {len(values)}"
        )
    return tuple(
        m.detach().to(t.device).long().view(*(1,) * (t.dim() - m.dim()), *m.shape)
        for m, t in zip(each, values, strict=True)
    )


def format_feature_mask(
    feature_mask: Tensors | None, inputs: tuple[Tensor, ...], start_idx: int = 0
) -> tuple[Tensor, ...]:
    """Returns masks as a tuple; without any, those in which each element is a feature.

    Args:
        feature_mask: A mask, or one for each input; None: none.
        inputs: The inputs, (examples, *features) each.
        start_idx: The number of the first feature, where there are no masks.
    """
    if feature_mask is not None:
        return feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    made = []
    for t in inputs:
        size = t[:1].numel()
        ids = torch.arange(start_idx, start_idx + size, device=t.device)
        made.append(ids.view(t[:1].shape))
        start_idx += size
    return tuple(made)


def largest_feature(feature_mask: tuple[Tensor, ...]) -> int:
    """Returns the largest number in masks that are not all empty."""
    return max(int(m.max()) for m in feature_mask if m.numel())


def fits(mask: Tensor, inp: Tensor) -> bool:
    """Returns whether a mask broadcasts to an input without giving it another shape."""
    if mask.dim() > inp.dim():
        return False
    lengths = zip(reversed(mask.shape), reversed(inp.shape), strict=False)
    return all(m in {1, n} for m, n in lengths)


def get_total_features_from_mask(feature_mask: tuple[Tensor, ...]) -> int:
    """Returns the number of distinct features in masks."""
    return len({number for mask in feature_mask for number in mask.unique().tolist()})


def _whole(name: str, mask: object) -> Tensor:
    if not isinstance(mask, Tensor):
        raise InvalidInput(name, f"of type {type(mask).__name__}", "a torch.Tensor")
    with translated():
        check_dense(name, mask)
    if mask.is_complex():
        raise InvalidInput(name, f"of dtype {mask.dtype}", "whole numbers")
    if mask.dtype is torch.bool:
        return mask.long()
    if not mask.is_floating_point():
        return mask
    numbers = mask.detach().long()
    if not torch.equal(numbers.to(mask.dtype), mask.detach()):
        raise InvalidInput(name, f"of dtype {mask.dtype} with fractions", "whole numbers")
    return numbers
