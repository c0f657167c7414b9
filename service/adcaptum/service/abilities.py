"""What a method can take, with the methods inside it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from adcaptum.engine.method import LayerUse, Method


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a method can take, with the methods inside it.

    Attributes:
        name: The method's.
        gradient: Whether it needs gradients.
        layer: Whether it may or must explain a layer.
        baseline: Whether it compares with a baseline.
        background: Whether that may be a distribution.
    """

    name: str
    gradient: bool
    layer: LayerUse
    baseline: bool
    background: bool

    @classmethod
    def of(cls, method: Method | type[Method]) -> Self:
        """Looks at a method; of a class, at the class alone."""
        inside = list(_inside(method))
        every = [method, *inside]
        uses = {each.layer for each in every}
        layer: LayerUse = "optional"
        if "never" in uses:
            layer = "never"
        elif "required" in uses:
            layer = "required"
        return cls(
            name=method.name,
            gradient=any(each.gradient for each in every),
            layer=layer,
            # What wraps a method hands the baselines on, and has no use for them itself.
            baseline=any(each.baseline for each in inside or every),
            background=any(each.background for each in inside or every),
        )


def _inside(method: Method | type[Method]) -> Iterator[Method]:
    if isinstance(method, type) or not dataclasses.is_dataclass(method):
        return
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        if isinstance(value, Method):
            yield value
            yield from _inside(value)
