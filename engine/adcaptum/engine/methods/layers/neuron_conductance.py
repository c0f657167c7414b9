"""Neuron conductance: the part of each input's contribution that flows through one neuron."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.methods.paths.quadrature import Rule
from adcaptum.engine.methods.paths.refinement import USUAL_POINTS
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT, Neuron
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class NeuronConductance:
    """The part of the inputs' integrated gradients that flows through one neuron of a layer.

    Dhamdhere, Sundararajan, Yan (2018), https://arxiv.org/abs/1805.12233, equation 3. The layer
    says where the neuron is; the values are the inputs'. Over all neurons of a layer that is the
    only way through the model they sum to the integrated gradients.
    """

    traits: ClassVar[Traits] = Traits(
        name="neuron_conductance",
        paper="https://arxiv.org/abs/1805.12233",
        gradient=True,
        baseline=True,
        layer="through",
        tolerance=True,
        held=2.0,
        held_to_tolerance=6.0,
    )

    neuron: tuple[int, ...] | None = parameter(
        None, "The neuron's index in the layer, without the examples; all of them where not given."
    )
    n_steps: int = parameter(50, "Points on the path.", minimum=1, maximum=10_000)
    method: Rule = parameter("gausslegendre", "The rule of the quadrature.")
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the average gradient."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains, for the inputs; with a tolerance, reports after each refinement.

        Raises:
            InvalidArgument: If no layer is named, or it has no such neuron.
        """
        if explicand.at == INPUT:
            raise InvalidArgument("layer", "not given", "the neuron is one of a layer")
        every = (slice(None),)
        neuron = Neuron(explicand.at, every if self.neuron is None else self.neuron)
        at_inputs = replace(explicand, at=INPUT, through=neuron, with_error=False)
        return (yield from self._gradients.flow(at_inputs))

    def rows(self, explicand: Explicand) -> int:
        """The steps of each example; with a tolerance, the usual number."""
        steps = self.n_steps if explicand.tolerance is None else USUAL_POINTS
        return explicand.count * steps

    @property
    def _gradients(self) -> IntegratedGradients:
        return IntegratedGradients(self.n_steps, self.method, self.multiply_by_inputs)
