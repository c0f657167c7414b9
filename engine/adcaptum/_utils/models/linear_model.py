"""Captum's path of linear models."""

from adcaptum.attr.surrogates.linear_models import (
    LinearModel,
    SGDLasso,
    SGDLinearRegression,
    SGDRidge,
    SkLearnLasso,
    SkLearnLinearModel,
    SkLearnLinearRegression,
    SkLearnRidge,
)

__all__ = [
    "LinearModel",
    "SGDLasso",
    "SGDLinearRegression",
    "SGDRidge",
    "SkLearnLasso",
    "SkLearnLinearModel",
    "SkLearnLinearRegression",
    "SkLearnRidge",
]
