"""Captum's path of interpretable models."""

from adcaptum.attr.surrogates.linear_models import Model

__all__ = ["Model"]
