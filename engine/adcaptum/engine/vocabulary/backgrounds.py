"""Background sets: several baselines for each example, over which an answer is an expectation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.sources import Crossed
from adcaptum.engine.vocabulary.arguments import PerExample
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.explicand_forms import in_floating_dtype
from adcaptum.engine.vocabulary.flow import Flow, ask, gather
from adcaptum.engine.vocabulary.method import value_bytes
from adcaptum.engine.vocabulary.site import INPUT

Tensors = tuple[Tensor, ...]


def backgrounds(explicand: Explicand) -> Flow[tuple[Tensors, Tensors]]:
    """Finds the values to explain and their backgrounds, at the inputs or at a site in the model.

    Returns:
        The values, each (examples, *features), and the background rows of all examples or of each,
        (1 or examples, rows, *features).

    Raises:
        InvalidArgument: If the inputs have different numbers of background rows.
    """
    given = _background(explicand)
    if explicand.at == INPUT:
        return explicand.inputs, tuple(t.unsqueeze(0) for t in given)
    wanted = []
    crossed = Crossed(given, _examples(explicand))
    if explicand.values is None:
        wanted.append(values_at_site(explicand, explicand.inputs))
    if explicand.starts is None:
        wanted.append(replace(values_at_site(explicand, given), rows=crossed))
    readings = yield from gather(map(ask, wanted))
    ends = readings[0].activations if explicand.values is None else explicand.values
    if explicand.starts is not None:
        return ends, _at_site(explicand.starts, ends)
    at_site = readings[-1].activations
    return ends, tuple(
        t.view(crossed.count, len(t) // crossed.count, *t.shape[1:]) for t in at_site
    )


def background_endpoint_rows(explicand: Explicand) -> int:
    """Returns the number of rows that `backgrounds` evaluates."""
    if explicand.at == INPUT:
        return 0
    rows = explicand.count * (explicand.values is None)
    if explicand.starts is not None:
        return rows
    each = max((len(t) for t in explicand.baselines or ()), default=1)
    return rows + each * _examples(explicand)


def background_bytes(explicand: Explicand) -> int:
    """Estimates the memory of backgrounds that a flow makes: at a site, or with a tolerance."""
    rows = max((len(t) for t in explicand.baselines or ()), default=1)
    of_all = rows * value_bytes(explicand)
    at_site = 0 if explicand.at == INPUT else of_all * _examples(explicand) // explicand.count
    # With a tolerance each example's flow has its own.
    return at_site if explicand.tolerance is None else of_all + max(of_all, at_site)


def _background(explicand: Explicand) -> Tensors:
    """Returns the background rows of each input; repeats a single row to the number of others."""
    if explicand.baselines is None:
        return tuple(torch.zeros_like(t[:1]) for t in explicand.inputs)
    return _equally_many("baselines", explicand.baselines)


def _at_site(starts: Tensors, ends: Tensors) -> Tensors:
    """Returns the backgrounds that the explicand has at the site, (1, rows, *features)."""
    if len(starts) != len(ends):
        raise InvalidArgument("layer_baselines", f"{len(starts)} of them", f"{len(ends)}: one each")
    made = []
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        shape = (len(start) if start.dim() == end.dim() else 1, *end.shape[1:])
        try:
            rows = start.to(end.device).expand(shape)
        except RuntimeError as error:
            raise InvalidArgument(
                f"layer_baselines[{i}]",
                f"a tensor of shape {tuple(start.shape)}",
                f"(rows, *features) with the layer's features, {tuple(end.shape[1:])}",
            ) from error
        made.append(in_floating_dtype(f"layer_baselines[{i}]", rows, end.dtype))
    return tuple(t.unsqueeze(0) for t in _equally_many("layer_baselines", tuple(made)))


def _equally_many(name: str, tensors: Tensors) -> Tensors:
    rows = max(map(len, tensors))
    if any(len(t) not in {1, rows} for t in tensors):
        raise InvalidArgument(
            name, f"of {sorted({len(t) for t in tensors})} rows", "as many rows for every input"
        )
    return tuple(t.expand(rows, *t.shape[1:]) for t in tensors)


def _examples(explicand: Explicand) -> int:
    """Returns the number of examples whose background has to be evaluated at a site.

    A layer's value there may depend on the example's further arguments.
    """
    of_each = any(isinstance(a, PerExample) for a in explicand.arguments.values)
    return explicand.count if of_each else 1
