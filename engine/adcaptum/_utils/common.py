"""Captum's path of helpers of feature masks."""

from adcaptum.attr.facade.masks import (
    fits as _is_mask_valid,
    format_feature_mask as _format_feature_mask,
    largest_feature as _get_max_feature_index,
)

__all__ = ["_format_feature_mask", "_get_max_feature_index", "_is_mask_valid"]
