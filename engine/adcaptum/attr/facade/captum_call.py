"""Captum's forms of arguments, brought to the engine's.

A question is asked once, here; behind it nothing looks at the caller's forms again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput, OutOfRange, translated
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.execution.forwards.futures import following
from adcaptum.engine.vocabulary.arguments import Argument, PerExample, Shared
from adcaptum.engine.vocabulary.evaluation import INPUT, EveryOutput, Neuron, Site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.explicand_forms import check_dense

Tensors = Tensor | tuple[Tensor, ...]
Index = int | tuple[int | slice, ...]
TargetType = Index | Tensor | list[int] | list[tuple[int, ...]] | None
BaselineType = Tensor | int | float | tuple[Tensor | int | float, ...] | None
Selector = Index | Callable[..., Tensor]
# A site says, where a model calls a module several times, which call is meant.
Layer = nn.Module | Site
Layers = Layer | list[nn.Module]
Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class CaptumCall:
    """What is to be explained, and of what.

    Attributes:
        model: What is called.
        explicand: What is asked of it.
        is_tuple: Whether the inputs came as a tuple, and so the answer goes.
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
        """Takes the forms that Captum takes.

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
            with_error: Whether to spend the rows that tell the error.
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
            # What is sliced has no one index: the function takes it from the output itself.
            if isinstance(target, tuple) and (every_output or _sliced(target)):
                model, wanted = selecting(model, target), None
            if every_output and wanted is None:
                wanted = EveryOutput()
        with translated():
            explicand = Explicand.of(
                tensors,
                target=wanted,  # type: ignore[arg-type]
                baselines=_baselines(baselines, tensors, distribution=distribution),
                at=at,
                additional_forward_args=_arguments(additional_forward_args, count),
                feature_mask=feature_mask,
                with_error=with_error,
            )
        return cls(model, explicand, isinstance(inputs, tuple))


def input_tensors(inputs: Tensors) -> tuple[Tensor, ...]:
    """The inputs as a tuple.

    Raises:
        InvalidInput: If they are neither a tensor nor a tuple of tensors.
    """
    if isinstance(inputs, Tensor):
        return (inputs,)
    if not isinstance(inputs, tuple):
        raise InvalidInput("inputs", type(inputs), "a torch.Tensor or a tuple[torch.Tensor, ...]")
    return inputs


def _count(inputs: tuple[Tensor, ...]) -> int:
    """How many examples there are, as far as it can be told before the inputs are checked."""
    first: object = inputs[0] if inputs else None
    if not isinstance(first, Tensor):
        return 0
    with translated():
        check_dense("inputs[0]", first)
    return len(first) if first.dim() else 0


def callable_of(forward_func: Forward) -> Model:
    """What the engine calls: the module behind a DataParallel; one without parameters, with none.

    Rows go through one device: replicas would answer the same.
    """
    if isinstance(forward_func, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module: nn.Module = forward_func.module
        return module
    if isinstance(forward_func, nn.Module):
        return forward_func
    try:
        takes_nothing = not signature(forward_func).parameters
    except (TypeError, ValueError):  # a builtin may have no signature
        takes_nothing = False
    return (lambda *_rows: forward_func()) if takes_nothing else forward_func


def site_of(layer: Layers, *, of_input: bool = False) -> Site:
    """The place that a layer is explained at: what it gives, or takes; several are one site."""
    if isinstance(layer, Site):
        return replace(layer, io="input") if of_input else layer
    where: nn.Module | tuple[nn.Module, ...] = tuple(layer) if isinstance(layer, list) else layer
    return Site(where, "input" if of_input else "output")


def neuron_of(layer: Layer, selector: Selector, *, of_input: bool = False) -> Neuron:
    """The neuron that a selector means.

    Raises:
        InvalidInput: If it is neither an int, a tuple of ints and slices, nor a function.
    """
    site = site_of(layer, of_input=of_input)
    if callable(selector):
        return Neuron(site, lambda *tensors: selector(tensors if len(tensors) > 1 else tensors[0]))
    index = selector if isinstance(selector, tuple) else (selector,)
    if not all(isinstance(i, int | slice) for i in index):
        raise InvalidInput("neuron_selector", repr(selector), "an int, a tuple or a function")
    return Neuron(site, index)


def baselines_of(baselines: object, inputs: Tensors) -> BaselineType:
    """Baselines, or what a function of the inputs, or of nothing, makes of them."""
    if not callable(baselines):
        return baselines  # type: ignore[return-value]
    return baselines(inputs) if signature(baselines).parameters else baselines()


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


def selecting(whole: Model, target: tuple[int | slice, ...]) -> Model:
    """The model followed by a selection from its output."""

    def chosen(output: object) -> Tensor:
        if not isinstance(output, Tensor) or len(target) >= output.dim():
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output)
            raise InvalidInput("target", str(target), f"an index into the output, {shape}")
        try:
            return output[(slice(None), *target)]
        except IndexError as error:
            raise OutOfRange("target", str(target), f"within {tuple(output.shape[1:])}") from error

    def selected(*arguments: object) -> object:
        output = whole(*arguments)
        if isinstance(output, torch.Future):
            return following(output, chosen)
        return chosen(output)

    return selected


def _baselines(
    baselines: BaselineType, inputs: tuple[Tensor, ...], *, distribution: bool
) -> Sequence[Tensor | float] | None:
    if baselines is None:
        return None
    each = baselines if isinstance(baselines, tuple) else (baselines,)
    for i, (baseline, t) in enumerate(zip(each, inputs, strict=False)):
        if not isinstance(baseline, Tensor | int | float):
            raise InvalidInput(f"baselines[{i}]", type(baseline), "a torch.Tensor or a number")
        if isinstance(baseline, Tensor):
            with translated():
                check_dense(f"baselines[{i}]", baseline)
        if isinstance(baseline, Tensor) and not (
            distribution or baseline.shape[:1] in {(1,), t.shape[:1]}
        ):
            raise InvalidInput(
                f"baselines[{i}]",
                f"of shape {tuple(baseline.shape)}",
                f"one for all, or one for each of the {len(t)} examples",
            )
    return tuple(_spread(b, t) for b, t in zip(each, inputs, strict=False)) + each[len(inputs) :]


def _spread(baseline: Tensor | float, like: Tensor) -> Tensor | float:
    """A baseline whose features broadcast to the input's, with all of them."""
    if not isinstance(baseline, Tensor) or baseline.dim() != like.dim():
        return baseline
    fits = all(b in {1, n} for b, n in zip(baseline.shape[1:], like.shape[1:], strict=True))
    return baseline.expand(-1, *like.shape[1:]) if fits else baseline


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
