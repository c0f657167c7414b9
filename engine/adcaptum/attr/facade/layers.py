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
    """What is found at a layer, in its container; at a list of layers, a list.

    Args:
        layer: The layer, or a list of them, where what is found at one is the same whether others
            are looked at or not.
        values: Explains a site: a tensor per tensor there.
        of_input: Whether what the layers take is meant, not what they give.
    """
    if not isinstance(layer, list):
        return like_layer(values(site_of(layer, of_input=of_input)))
    together = values(site_of(layer, of_input=of_input))
    if len(together) == len(layer):
        return list(together)
    # Some have several tensors: one by one it is plain whose each is.
    return [like_layer(values(site_of(one, of_input=of_input))) for one in layer]


def divided(
    layers: list[nn.Module],
    together: tuple[Tensor, ...],
    tensors: Callable[[Site], int],
    *,
    of_input: bool,
) -> list[Tensors]:
    """Gives each of several layers its own of the tensors that were found at all of them.

    Args:
        layers: The layers.
        together: A tensor per tensor at the site of all of them.
        tensors: Counts those at the site of one.
        of_input: Whether what the layers take is meant, not what they give.
    """
    if len(together) == len(layers):
        return list(together)
    counts = [tensors(site_of(one, of_input=of_input)) for one in layers]
    ends = accumulate(counts)
    return [
        like_layer(together[end - count : end]) for count, end in zip(counts, ends, strict=True)
    ]


def activations(call: CaptumCall) -> tuple[Tensor, ...]:
    """What the model makes of the inputs at the explained layer.

    All examples go together, since a forward may take them only so.
    """
    with translated():
        return run_flow(call, _reading(call), batch_rows=call.explicand.count)


def _reading(call: CaptumCall) -> Flow[tuple[Tensor, ...]]:
    explicand = call.explicand
    reading = yield from ask(values_at_site(explicand, explicand.inputs))
    return reading.activations
