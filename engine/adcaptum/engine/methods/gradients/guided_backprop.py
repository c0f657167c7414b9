"""Guided backpropagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.errors import UncoveredOperations
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.rules.rectified import Guided
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GuidedBackprop:
    """The gradient, of which each ReLU passes on the positive part alone.

    Springenberg, Dosovitskiy, Brox, Riedmiller (2014), https://arxiv.org/abs/1412.6806, section
    3.4. ReLUs are meant in every form, functional and in place; other non-linearities keep their
    plain gradient and are listed as uncovered.
    """

    traits: ClassVar[Traits] = Traits(
        name="guided_backprop",
        paper="https://arxiv.org/abs/1412.6806",
        gradient=True,
        operations=True,
    )

    strict: bool = parameter(
        False, "Refuse a model with non-linearities other than ReLU, instead of listing them."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the output is the target at the input."""
        reading = yield from ask(explicand.at_inputs(gradient=True, rule=Guided()))
        if self.strict and reading.uncovered_ops:
            raise UncoveredOperations(reading.uncovered_ops)
        return Attribution(
            widened(reading.gradients),
            output=reading.values,
            uncovered_ops=reading.uncovered_ops,
        )

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count
