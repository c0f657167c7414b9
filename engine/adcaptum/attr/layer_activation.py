"""The values at a layer."""

from __future__ import annotations

from torch import Tensor

from adcaptum.attr.answer import explained
from adcaptum.attr.attribution import LayerAttribution
from adcaptum.attr.layers import at_layers
from adcaptum.attr.question import Question, Tensors
from adcaptum.engine.evaluation import Site
from adcaptum.engine.methods.activation import Activation


class LayerActivation(LayerAttribution):
    """The values at a layer."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        additional_forward_args: object = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensors | list[Tensors]:
        """Reads the layer; of a list of layers, each."""

        def values(at: Site) -> tuple[Tensor, ...]:
            question = Question.of(
                self.forward_func, inputs, additional_forward_args=additional_forward_args, at=at
            )
            return explained(question, Activation()).values

        return at_layers(self.layer, values, of_input=attribute_to_layer_input)
