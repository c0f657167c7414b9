"""Captum's path of a model whose inputs are layers."""

from adcaptum.attr.layers.model_input_wrapper import InputIdentity, ModelInputWrapper

__all__ = ["InputIdentity", "ModelInputWrapper"]
