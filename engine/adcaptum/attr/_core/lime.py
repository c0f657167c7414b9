"""Captum's path of LIME."""

from adcaptum.attr.surrogates.lime import Lime
from adcaptum.attr.surrogates.lime_base import LimeBase
from adcaptum.attr.surrogates.lime_functions import (
    construct_feature_mask,
    default_from_interp_rep_transform,
    default_perturb_func,
    get_exp_kernel_similarity_function,
)

__all__ = [
    "Lime",
    "LimeBase",
    "construct_feature_mask",
    "default_from_interp_rep_transform",
    "default_perturb_func",
    "get_exp_kernel_similarity_function",
]
