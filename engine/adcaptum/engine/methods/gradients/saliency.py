"""Saliency: the gradient of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class Saliency:
    """The gradient of the target with respect to each element, or its magnitude.

    Simonyan, Vedaldi, Zisserman (2013), https://arxiv.org/abs/1312.6034, section 3.
    """

    traits: ClassVar[Traits] = Traits(
        name="saliency", paper="https://arxiv.org/abs/1312.6034", gradient=True
    )

    abs: bool = parameter(True, "Take the gradient's magnitude; false keeps its sign.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the output is the target at the input."""
        reading = yield from ask(explicand.at_inputs(gradient=True))
        gradients = widened(reading.gradients)
        values = tuple(g.abs() for g in gradients) if self.abs else gradients
        return Attribution(values, output=reading.values)

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count
