"""Captum's path of a module that adds."""

from adcaptum.attr.layers.addition import Addition_Module

__all__ = ["Addition_Module"]
