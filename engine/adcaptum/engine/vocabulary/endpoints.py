"""Endpoints: the values to explain and their baselines, at the inputs or at a site."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.explicand_forms import in_floating_dtype
from adcaptum.engine.vocabulary.flow import Flow, ask, gather
from adcaptum.engine.vocabulary.site import INPUT


def endpoints(explicand: Explicand) -> Flow[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Finds the values to explain and their baselines, at the inputs or at a site in the model."""
    inputs = explicand.inputs
    if explicand.at == INPUT:
        return inputs, explicand.paired_baselines()
    wanted = []
    if explicand.values is None:
        wanted.append(inputs)
    if explicand.starts is None:
        wanted.append(explicand.paired_baselines())
    readings = yield from gather(ask(values_at_site(explicand, tensors)) for tensors in wanted)
    ends = readings[0].activations if explicand.values is None else explicand.values
    if explicand.starts is None:
        return ends, readings[-1].activations
    return ends, expanded(explicand.starts, ends)


def endpoint_rows(explicand: Explicand) -> int:
    """Returns the number of rows that `endpoints` evaluates."""
    if explicand.at == INPUT:
        return 0
    return explicand.count * ((explicand.values is None) + (explicand.starts is None))


def values_at_site(explicand: Explicand, inputs: tuple[Tensor, ...]) -> Evaluation:
    """Evaluates inputs up to the explained site, and reads its values."""
    return Evaluation(
        Given(inputs), read=explicand.at, arguments=explicand.arguments, outputs=False
    )


def expanded(starts: tuple[Tensor, ...], ends: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Expands baselines at a site to their tensors' shapes and dtypes.

    Raises:
        InvalidArgument: If there is not one for each tensor, or one does not broadcast to it.
    """
    if len(starts) != len(ends):
        raise InvalidArgument("layer_baselines", f"{len(starts)} of them", f"{len(ends)}: one each")
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        try:
            fits = torch.broadcast_shapes(start.shape, end.shape) == end.shape
        except RuntimeError:
            fits = False
        # With fewer dimensions, the first one could be taken for the examples.
        if not fits or start.dim() not in {0, end.dim()}:
            raise InvalidArgument(
                f"layer_baselines[{i}]",
                f"a tensor of shape {tuple(start.shape)}",
                "a number, or a tensor of as many dimensions that broadcasts to the layer's "
                f"{tuple(end.shape)}",
            )
    return tuple(
        in_floating_dtype(f"layer_baselines[{i}]", s.to(e.device), e.dtype).expand_as(e)
        for i, (s, e) in enumerate(zip(starts, ends, strict=True))
    )
