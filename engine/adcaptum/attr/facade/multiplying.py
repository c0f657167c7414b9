"""Methods that multiply gradients by the difference of the inputs, or do not."""

from __future__ import annotations

from adcaptum.attr.facade.attribution import GradientAttribution, InternalAttribution
from adcaptum.attr.facade.forms import Forward, Layers


class Multiplying(GradientAttribution):
    """A method at the inputs with the option `multiply_by_inputs`."""

    def __init__(self, forward_func: Forward, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs


class MultiplyingInside(InternalAttribution, GradientAttribution):
    """A method at a layer or for a neuron with the option `multiply_by_inputs`."""

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs
