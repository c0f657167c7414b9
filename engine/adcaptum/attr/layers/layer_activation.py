"""The values at a layer."""

from __future__ import annotations

from torch import Tensor

from adcaptum.attr.facade.answer import explain
from adcaptum.attr.facade.attribution import LayerAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Tensors
from adcaptum.attr.facade.layers import at_layers
from adcaptum.engine.methods.layers.activation import Activation
from adcaptum.engine.vocabulary.evaluation import Site


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
        """Returns the values of the layer, or of each of a list of layers."""

        def values(at: Site) -> tuple[Tensor, ...]:
            call = CaptumCall.of(
                self.forward_func, inputs, additional_forward_args=additional_forward_args, at=at
            )
            return explain(call, Activation()).values

        return at_layers(self.layer, values, of_input=attribute_to_layer_input)
