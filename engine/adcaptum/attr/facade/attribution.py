"""The base classes of Captum's methods.

They may be subclassed: wrappers (NoiseTunnel, the metrics) call only `attribute`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.answer import run_flow, sum_of_rows
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Forward, Layer, Layers, TargetType, Tensors
from adcaptum.attr.facade.gradient import compute_gradients
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation, EveryOutput, Site
from adcaptum.engine.vocabulary.flow import Flow, ask, gather

GradientFunc = Callable[..., tuple[Tensor, ...]]


class Attribution:
    """A method that attributes a model's output to its inputs, or to values inside it.

    Subclasses define `attribute`, and those with a convergence delta `compute_convergence_delta`.

    Attributes:
        forward_func: The model, or a function that takes the inputs and the further arguments.
    """

    attribute: Callable[..., Any]
    compute_convergence_delta: Callable[..., Any]

    def __init__(self, forward_func: Forward) -> None:
        self.forward_func = forward_func

    def attribute_future(self, *_args: Any, **_kwargs: Any) -> Any:
        """Attributes a forward that gives futures, if the method supports it."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")

    @property
    def multiplies_by_inputs(self) -> bool:
        """True if attributions have the unit of the output; False: that of a gradient."""
        return False

    def has_convergence_delta(self) -> bool:
        """Returns True if `attribute` can return a convergence delta."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """Returns the class's name in words."""
        name = cls.__name__
        return name[:1] + "".join(c if c.islower() else f" {c}" for c in name[1:])


class GradientAttribution(Attribution):
    """A method that differentiates the model."""

    def __init__(self, forward_func: Forward) -> None:
        super().__init__(forward_func)
        self._gradient_func: GradientFunc = compute_gradients

    @property
    def gradient_func(self) -> GradientFunc:
        """The gradients of a target with respect to inputs, for the `attribute` of subclasses.

        Raises:
            AttributeError: If it is set on a method of the library, which does not use it.
        """
        return self._gradient_func

    @gradient_func.setter
    def gradient_func(self, function: GradientFunc) -> None:
        attributing = (c for c in type(self).__mro__ if "attribute" in vars(c))
        if any(c.__module__.startswith("adcaptum.") for c in attributing):
            raise AttributeError(
                f"{self.get_name()} does not use gradient_func: explain a forward_func that has "
                "the gradient, or write a subclass of GradientAttribution with its own attribute"
            )
        self._gradient_func = function

    def compute_convergence_delta(
        self,
        attributions: Tensors,
        start_point: BaselineType,
        end_point: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
    ) -> Tensor:
        """Returns the sum of attributions less F(end_point) - F(start_point).

        Args:
            attributions: A tensor, or a tuple of them, whose first dimension is the examples.
            start_point: The baselines, in any of their forms.
            end_point: The inputs.
            target: The explained output; several numbers per example are summed.
            additional_forward_args: Further arguments of forward.

        Returns:
            One number per example, (examples,).
        """
        values = attributions if isinstance(attributions, tuple) else (attributions,)
        call = CaptumCall.of(
            self.forward_func,
            end_point,
            target=target,
            baselines=start_point,
            additional_forward_args=additional_forward_args,
            every_output=True,
        )
        for value in values:
            if len(value) != call.explicand.count:
                raise InvalidInput(
                    "attributions",
                    f"of {len(value)} examples",
                    f"as many as end_point, {call.explicand.count}",
                )
        with translated():
            end, start = run_flow(call, _outputs_at_ends(call))
        return sum_of_rows(values) - (end - start)


class PerturbationAttribution(Attribution):
    """A method that only evaluates the model, at changed inputs."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalAttribution(Attribution):
    """A method for a layer inside the model.

    Attributes:
        layer: The module; for some methods a list of them. Or a `Site` of the engine, which
            selects one of several calls of a module.
        device_ids: Accepted for compatibility. A DataParallel model's rows go through the module
            that it wraps, on one device.
    """

    def __init__(
        self, forward_func: Forward, layer: Layers, device_ids: list[int] | None = None
    ) -> None:
        super().__init__(forward_func)
        self.layer = layer
        self.device_ids = device_ids

    @property
    def module(self) -> Layer:
        """The layer of a method that takes one.

        Raises:
            InvalidInput: If several were given, or none.
        """
        if not isinstance(self.layer, nn.Module | Site):
            raise InvalidInput("layer", type(self.layer), f"one module for {self.get_name()}")
        return self.layer


class LayerAttribution(InternalAttribution):
    """A method that attributes the output to the values of a layer."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """Resizes attributions of a layer, such as to the size of an image.

        Args:
            layer_attribution: Shape (examples, channels, *sizes), of one to three sizes.
            interpolate_dims: The new sizes, or one for all.
            interpolate_mode: Any of torch.nn.functional.interpolate's.
        """
        return functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class NeuronAttribution(InternalAttribution):
    """A method that attributes one neuron's value to the inputs."""


def _outputs_at_ends(call: CaptumCall) -> Flow[list[Tensor]]:
    explicand = call.explicand
    target = explicand.target
    single = None if isinstance(target, EveryOutput) else target
    flows = [
        ask(Evaluation(Given(tensors), single, arguments=explicand.arguments))
        for tensors in (explicand.inputs, explicand.paired_baselines())
    ]
    readings = yield from gather(flows)
    return [r.values.reshape(len(r.values), -1).sum(1) for r in readings]
