"""Captum's path of the number of features of masks."""

from adcaptum.attr.facade.masks import get_total_features_from_mask

__all__ = ["get_total_features_from_mask"]
