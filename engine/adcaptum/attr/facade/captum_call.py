"""Calls of Captum's methods, converted once to the engine's forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.baselines import each_baseline
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.attr.facade.forwards import callable_of, selecting
from adcaptum.attr.facade.masks import whole_numbers
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.vocabulary.arguments import Argument, PerExample, Shared
from adcaptum.engine.vocabulary.evaluation import INPUT, EveryOutput, Neuron, Site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.explicand_forms import check_dense


@dataclass(frozen=True, slots=True, eq=False)
class CaptumCall:
    """The model and the explicand of a call.

    Attributes:
        model: The model.
        explicand: The explanation's subject.
        is_tuple: Whether the inputs were given as a tuple, so that the answer is one.
    """

    model: Model
    explicand: Explicand
    is_tuple: bool

    @classmethod
    def of(
        cls,
        forward_func: Forward,
        inputs: Tensors,
        *,
        target: TargetType | Neuron = None,
        baselines: BaselineType = None,
        additional_forward_args: object = None,
        at: Site = INPUT,
        feature_mask: Tensors | None = None,
        every_output: bool = False,
        with_error: bool = False,
        distribution: bool = False,
    ) -> Self:
        """Converts arguments from Captum's forms.

        Args:
            forward_func: The model, or a function of the inputs and the further arguments.
            inputs: A tensor, or a tuple of one per input of the model, (examples, *features) each.
            target: An index for all examples (an int, a tuple that may hold slices, a tensor of one
                element), or one per example (a 1-D tensor, a list of ints or of tuples); None
                where the output has one number per example. Or a neuron.
            baselines: A number or a tensor, or a tuple of them, one per input.
            additional_forward_args: One argument, or a tuple. A tensor whose first dimension is
                the examples has one value for each; all else is the same for every row.
                `PerExample` and `Shared` say which it is, where a length may be either.
            at: The site to explain.
            feature_mask: An integer tensor, or a tuple of one per input.
            every_output: Whether, where the target leaves several numbers per example, each is
                explained.
            with_error: Whether to evaluate the rows that the error estimate needs.
            distribution: Whether the rows of the baselines are a distribution, of any number.

        Raises:
            InvalidInput: If one of them has a form that is not allowed.
        """
        tensors = input_tensors(inputs)
        count = _count(tensors)
        model = callable_of(forward_func)
        wanted: object = target
        if not isinstance(target, Neuron):
            wanted = _checked_target(target, count)
            # A slice is not one index: the function selects from the output.
            if isinstance(target, tuple) and (every_output or _sliced(target)):
                model, wanted = selecting(model, target), None
            if every_output and wanted is None:
                wanted = EveryOutput()
        with translated():
            explicand = Explicand.of(
                tensors,
                target=wanted,  # type: ignore[arg-type]
                baselines=each_baseline(baselines, tensors, distribution=distribution),
                at=at,
                additional_forward_args=_arguments(additional_forward_args, count),
                feature_mask=None
                if feature_mask is None
                else whole_numbers("feature_mask", feature_mask),
                with_error=with_error,
            )
        return cls(model, explicand, isinstance(inputs, tuple))


def input_tensors(inputs: Tensors) -> tuple[Tensor, ...]:
    """Returns the inputs as a tuple.

    Raises:
        InvalidInput: If they are neither a tensor nor a tuple of tensors.
    """
    if isinstance(inputs, Tensor):
        return (inputs,)
    if not isinstance(inputs, tuple):
        raise InvalidInput("inputs", type(inputs), "a torch.Tensor or a tuple[torch.Tensor, ...]")
    return inputs


def _count(inputs: tuple[Tensor, ...]) -> int:
    """Returns the number of examples of inputs that are not checked yet; 0 if unknown."""
    first: object = inputs[0] if inputs else None
    if not isinstance(first, Tensor):
        return 0
    if first.layout is not torch.strided or first.is_nested:
        with translated():
            check_dense("inputs[0]", first)
    return first.shape[0] if first.dim() else 0


def _checked_target(target: object, count: int) -> object:
    if isinstance(target, Tensor):
        if target.numel() == 1 and not target.is_floating_point():
            return int(target)
        if target.dim() == 1 and len(target) == count:
            return target
        raise InvalidInput(
            "target", f"of shape {tuple(target.shape)}", f"one index, or one for each of {count}"
        )
    if isinstance(target, list):
        if len(target) != count:
            raise InvalidInput("target", f"{len(target)} indices", f"one for each of {count}")
        if not all(type(t) is type(target[0]) and isinstance(t, int | tuple) for t in target):
            raise InvalidInput("target", repr(target), "a list of ints, or of tuples of ints")
        return target
    if target is None or isinstance(target, int | tuple):
        return target
    raise InvalidInput("target", f"of type {type(target)}", "an int, a tuple, a tensor or a list")


def _sliced(target: tuple[object, ...]) -> bool:
    return any(isinstance(i, slice) for i in target)


def _arguments(arguments: object, count: int) -> tuple[Argument, ...]:
    if arguments is None:
        return ()
    each = arguments if isinstance(arguments, tuple) else (arguments,)
    return tuple(_argument(a, count) for a in each)


def _argument(value: object, count: int) -> Argument:
    if isinstance(value, Argument):
        return value
    if isinstance(value, Tensor) and value.dim() and len(value) == count:
        return PerExample(value.detach())
    return Shared(value)
