"""Captum's path of attributions over a DataLoader."""

from adcaptum.attr.perturbation.dataloader import DataLoaderAttribution, InputRole

__all__ = ["DataLoaderAttribution", "InputRole"]
