"""Occlusion."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.attribution import PerturbationAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import title
from adcaptum.attr.facade.perturbing.perturbation import perturbed
from adcaptum.engine.methods.perturbation import occlusion

Window = tuple[int, ...]
Strides = int | Window | Sequence[int | Window] | None


class Occlusion(PerturbationAttribution):
    """The loss of the output behind a sliding window, averaged over the windows of each element.

    The result has a row for each number of the output, as that of FeatureAblation.
    """

    def attribute(
        self,
        inputs: Tensors,
        sliding_window_shapes: Window | tuple[Window, ...],
        strides: Strides = None,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Tensors:
        """Moves the window over each input.

        Args:
            inputs: A tensor or a tuple of tensors.
            sliding_window_shapes: The window's length in each dimension but the examples'; for a
                tuple of inputs a tuple of them.
            strides: The step of the window, in all dimensions or in each; None: one.
            baselines: The values inside the window.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            perturbations_per_eval: See `adcaptum.attr.facade.perturbing.perturbation`.
            show_progress: Whether to draw a bar.
        """
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            every_output=True,
        )
        tensors = call.explicand.inputs
        windows = _each(sliding_window_shapes, tensors, "sliding_window_shapes")
        method = occlusion.Occlusion(
            tuple(n for window in windows for n in _window(window, "sliding_window_shapes")),
            _strides(strides, tensors),
        )
        answer = perturbed(
            call,
            method,
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )
        return like_inputs(call, answer.values)


def _each(given: object, tensors: tuple[Tensor, ...], name: str) -> tuple[object, ...]:
    """Returns one entry for each input; a single input's may be given without a tuple."""
    if not isinstance(given, tuple | list):
        raise InvalidInput(name, repr(given), "a tuple of numbers, or one for each input")
    nested = bool(given) and all(isinstance(part, tuple | list) for part in given)
    each = tuple(given) if nested or len(tensors) > 1 else (given,)
    if len(each) != len(tensors):
        raise InvalidInput(name, f"{len(each)} of them", f"one for each input: {len(tensors)}")
    for i, (part, t) in enumerate(zip(each, tensors, strict=True)):
        if isinstance(part, tuple | list) and len(part) != t.dim() - 1:
            raise InvalidInput(
                f"{name}[{i}]", part, f"one number for each of {t.dim() - 1} dimensions"
            )
    return each


def _window(numbers: object, name: str) -> Window:
    if not isinstance(numbers, tuple | list) or not all(isinstance(n, int) for n in numbers):
        raise InvalidInput(name, repr(numbers), "whole numbers, one for each dimension")
    return tuple(numbers)


def _strides(strides: Strides, tensors: tuple[Tensor, ...]) -> Window | None:
    if strides is None:
        return None
    if isinstance(strides, int):
        return (strides,) * sum(t.dim() - 1 for t in tensors)
    spread: list[int] = []
    for each, t in zip(_each(strides, tensors, "strides"), tensors, strict=True):
        several = (each,) * (t.dim() - 1) if isinstance(each, int) else each
        spread += _window(several, "strides")
    return tuple(spread)
