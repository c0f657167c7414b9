"""Input times gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class InputXGradient:
    """Each element times the target's gradient there: its contribution to a linear model.

    Shrikumar, Greenside, Shcherbina, Kundaje (2016), https://arxiv.org/abs/1605.01713, section 3.1.
    """

    traits: ClassVar[Traits] = Traits(
        name="input_x_gradient", paper="https://arxiv.org/abs/1605.01713", gradient=True
    )

    abs: bool = parameter(False, "Take the product's magnitude.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the output is the target at the input."""
        reading = yield from ask(explicand.at_inputs(gradient=True, read=True))
        points = explicand.inputs if explicand.at == INPUT else reading.activations
        gradients = widened(reading.gradients)
        values = tuple(x * g for x, g in zip(points, gradients, strict=True))
        return Attribution(
            tuple(v.abs() for v in values) if self.abs else values, output=reading.values
        )

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count
