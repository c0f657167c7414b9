"""Explanations at one layer or at several."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from torch import Tensor, nn

from adcaptum.attr.errors import translated
from adcaptum.attr.facade.answer import like_layer, run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Layers, Tensors
from adcaptum.attr.facade.sites import site_of
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.evaluation import Site
from adcaptum.engine.vocabulary.flow import Flow, ask


def at_layers(
    layer: Layers, values: Callable[[Site], tuple[Tensor, ...]], *, of_input: bool
) -> Tensors | list[Tensors]:
    """Explains a layer, in its container; a list of layers, in a list.

    Args:
        layer: The layer, or a list of them. The explanation of one must not depend on the others.
        values: Explains a site: one tensor per tensor of the site.
        of_input: Whether to explain the layers' inputs, not their outputs.
    """
    if not isinstance(layer, list):
        return like_layer(values(site_of(layer, of_input=of_input)))
    together = values(site_of(layer, of_input=of_input))
    if len(together) == len(layer):
        return list(together)
    # Some have several tensors: explained one by one, each tensor's layer is known.
    return [like_layer(values(site_of(one, of_input=of_input))) for one in layer]


def divided(
    layers: list[nn.Module],
    together: tuple[Tensor, ...],
    tensors: Callable[[Site], int],
    *,
    of_input: bool,
) -> list[Tensors]:
    """Divides the tensors of several layers among the layers.

    Args:
        layers: The layers.
        together: The tensors of all layers, in order.
        tensors: Counts the tensors of one layer.
        of_input: Whether to explain the layers' inputs, not their outputs.
    """
    if len(together) == len(layers):
        return list(together)
    counts = [tensors(site_of(one, of_input=of_input)) for one in layers]
    ends = accumulate(counts)
    return [
        like_layer(together[end - count : end]) for count, end in zip(counts, ends, strict=True)
    ]


def activations(call: CaptumCall) -> tuple[Tensor, ...]:
    """Returns the values of the explained layer.

    All examples are one batch: a forward may take no other.
    """
    with translated():
        return run_flow(call, _reading(call), batch_rows=call.explicand.count)


def _reading(call: CaptumCall) -> Flow[tuple[Tensor, ...]]:
    explicand = call.explicand
    reading = yield from ask(values_at_site(explicand, explicand.inputs))
    return reading.activations
