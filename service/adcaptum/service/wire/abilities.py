"""Abilities of a method, with those of the methods inside it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import torch

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.vocabulary.evaluation import INPUT, Site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.method import LayerUse, Method, needs_layer
from adcaptum.engine.vocabulary.parameters import describe, resolve

NEURON: Final = "neuron"
"""The name of the parameter for a neuron of the explained layer."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities of a method, with those of the methods inside it.

    Attributes:
        name: The method's name.
        gradient: Whether it needs gradients.
        layer: Whether it may or must explain a layer.
        baseline: Whether it compares with a baseline.
        background: Whether that may be a distribution.
        distribution: Whether several baselines are a distribution to it even where there are as
            many as examples.
        starts: Whether the baseline may be one in the layer's own space. Methods that need a layer
            compare the inputs.
        through: Whether it explains the inputs through a neuron of the layer: a method that has a
            parameter `neuron`.
        of_inputs: Whether its answer is of the inputs though a layer is named.
        alone: Whether it explains an example without others beside it.
        operations: Whether it gives the model's operations another backward pass.
    """

    name: str
    gradient: bool
    layer: LayerUse
    baseline: bool
    background: bool
    distribution: bool
    starts: bool
    through: bool
    of_inputs: bool
    alone: bool
    operations: bool = False

    @classmethod
    def of(cls, method: Method | type[Method]) -> Self:
        """Finds the abilities of a method; of a class, those of the class alone."""
        inside = list(_inside(method))
        every = [method, *inside]
        uses = {each.traits.layer for each in every}
        layer: LayerUse = "optional"
        if "never" in uses:
            layer = "never"
        elif "through" in uses:
            layer = "through"
        elif "required" in uses:
            layer = "required"
        return cls(
            name=method.traits.name,
            gradient=any(each.traits.gradient for each in every),
            layer=layer,
            starts=layer == "optional" and any(each.traits.baseline for each in inside or every),
            through=any(NEURON in (p.name for p in describe(_class(each))) for each in every),
            of_inputs=layer == "through",
            alone=_explains_one(method, layer),
            operations=any(each.traits.operations for each in every),
            # A method that wraps another hands the baselines on and does not use them.
            baseline=any(each.traits.baseline for each in inside or every),
            background=any(each.traits.background for each in inside or every),
            distribution=any(each.traits.distribution for each in every),
        )


def _explains_one(method: Method | type[Method], layer: LayerUse) -> bool:
    made: Method = resolve(method, {}) if isinstance(method, type) else method
    at = Site("layer") if needs_layer(layer) else INPUT
    try:
        made.rows(Explicand((torch.zeros(1, 2),), at=at))
    except InvalidArgument as error:
        # Parameters may not fit so small an input; that says nothing.
        return error.field != "inputs"
    return True


def _class(method: Method | type[Method]) -> type[Method]:
    return method if isinstance(method, type) else type(method)


def _inside(method: Method | type[Method]) -> Iterator[Method]:
    if isinstance(method, type) or not dataclasses.is_dataclass(method):
        return
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        if isinstance(value, Method):
            yield value
            yield from _inside(value)
