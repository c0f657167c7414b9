"""Layers and neurons in Captum's forms."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.forms import Layer, Layers, Selector
from adcaptum.engine.vocabulary.evaluation import Neuron, Site


def site_of(layer: Layers, *, of_input: bool = False) -> Site:
    """Returns the site of a layer, or of several: their outputs, or their inputs."""
    if isinstance(layer, Site):
        return replace(layer, io="input") if of_input else layer
    where: nn.Module | tuple[nn.Module, ...] = tuple(layer) if isinstance(layer, list) else layer
    return Site(where, "input" if of_input else "output")


def neuron_of(layer: Layer, selector: Selector, *, of_input: bool = False) -> Neuron:
    """Returns the neuron of a selector.

    Raises:
        InvalidInput: If it is neither an int, a tuple of ints and slices, nor a function.
    """
    site = site_of(layer, of_input=of_input)
    if callable(selector):
        return Neuron(site, lambda *tensors: selector(tensors if len(tensors) > 1 else tensors[0]))
    index = selector if isinstance(selector, tuple) else (selector,)
    if not all(isinstance(i, int | slice) for i in index):
        raise InvalidInput("neuron_selector", repr(selector), "an int, a tuple or a function")
    return Neuron(site, index)
