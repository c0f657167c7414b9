"""Conversion of the forms in which callers write inputs, targets, baselines and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.vocabulary.arguments import (
    NO_ARGUMENTS,
    Argument,
    Arguments,
    PerExample,
    Shared,
)
from adcaptum.engine.vocabulary.target import Output

Tensors = Tensor | Sequence[Tensor]
Baselines = Tensor | float | Sequence[Tensor | float]
Targets = int | Sequence[int] | Sequence[tuple[int, ...]] | Tensor | None


def given_target(target: Targets, count: int) -> Output:
    """Brings a target to an output of the model.

    Raises:
        InvalidArgument: If it is not one index, or one per example.
    """
    if type(target) is int and -(1 << 63) <= target < 1 << 63:
        return Output(index=target)
    return Output(target_indices(target, count))


def target_indices(target: Targets, count: int) -> Tensor | None:
    """Brings a target to int64 of shape (examples, dims).

    Raises:
        InvalidArgument: If it is not one index, or one per example.
    """
    if target is None:
        return None
    try:
        indices = (
            target.cpu() if isinstance(target, Tensor) else torch.as_tensor(target, device="cpu")
        )
    except (TypeError, ValueError) as error:
        raise InvalidArgument("target", repr(target), "an index, or one per example") from error
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise InvalidArgument("target", repr(target), "indices are whole numbers")
    indices = indices.to(torch.int64)
    if isinstance(target, tuple) and indices.dim() == 1:
        # Captum's tuple: one index of several dimensions, for all examples.
        return indices.expand(count, -1)
    if indices.numel() == 1 and indices.dim() <= 1:
        return indices.reshape(1, 1).expand(count, 1)
    if indices.dim() > 2 or indices.shape[0] != count:
        raise InvalidArgument(
            "target",
            f"indices of shape {tuple(indices.shape)}",
            f"one index for all, or one for each of the {count} examples",
        )
    return indices.reshape(count, -1)


def given_inputs(inputs: Tensors) -> tuple[Tensor, ...]:
    """Brings inputs to a tuple of tensors of as many examples, without graphs.

    Raises:
        InvalidArgument: If there are none, one is no tensor, or their numbers of examples differ.
    """
    if isinstance(inputs, Tensor):
        _check_input(0, inputs)
        return (inputs.detach(),)
    tensors = tuple(inputs)
    if not tensors:
        raise InvalidArgument("inputs", "empty", "at least one tensor")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise InvalidArgument(f"inputs[{i}]", f"of type {type(t).__name__}", "a torch.Tensor")
        _check_input(i, t)
        if t.shape[0] != tensors[0].shape[0]:
            raise InvalidArgument(
                f"inputs[{i}]",
                f"a tensor of {len(t)} examples",
                f"as many examples as inputs[0], {len(tensors[0])}",
            )
    return tuple(t.detach() for t in tensors)


def _check_input(i: int, t: Tensor) -> None:
    check_dense(f"inputs[{i}]", t)
    if t.dim() == 0 or t.shape[0] == 0:
        raise InvalidArgument(
            f"inputs[{i}]",
            f"a tensor of shape {tuple(t.shape)}",
            "the first dimension is the examples, at least one",
        )


def further_arguments(values: Sequence[object], count: int) -> Arguments:
    """Brings further arguments of forward to those of examples and those that all share.

    Raises:
        InvalidArgument: If a tensor does not have one value for each example.
    """
    if not values:
        return NO_ARGUMENTS
    arguments = Arguments(tuple(_argument(a) for a in values))
    for i, a in enumerate(arguments.values):
        if isinstance(a, PerExample):
            check_dense(f"additional_forward_args[{i}]", a.tensor)
    arguments.check(count)
    return arguments


def _argument(value: object) -> Argument:
    if isinstance(value, Argument):
        return value
    return PerExample(value.detach()) if isinstance(value, Tensor) else Shared(value)


def given_baselines(
    baselines: Baselines, inputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Brings baselines to a tensor (rows, *features) for each input, of its dtype and device.

    Integer and bool inputs whose baseline their dtype cannot hold are promoted with it to a common
    dtype, as in arithmetic: a baseline of 0.7 is not cut off to 0. Floating-point inputs keep their
    dtype, to which baselines are rounded.

    Returns:
        The inputs, promoted where that is needed, and the baselines.

    Raises:
        InvalidArgument: If one does not fit its input.
    """
    each = (baselines,) if isinstance(baselines, Tensor | int | float) else tuple(baselines)
    if len(each) != len(inputs):
        raise InvalidArgument("baselines", f"{len(each)} of them", f"one per input: {len(inputs)}")
    pairs = [
        _in_one_dtype(f"baselines[{i}]", t, baseline)
        for i, (baseline, t) in enumerate(zip(each, inputs, strict=True))
    ]
    return tuple(t for t, _ in pairs), tuple(rows for _, rows in pairs)


def _in_one_dtype(name: str, t: Tensor, baseline: Tensor | float) -> tuple[Tensor, Tensor]:
    rows = _rows(name, baseline, t)
    if t.is_floating_point() or t.is_complex():
        return t, in_floating_dtype(name, rows, t.dtype).to(t.device)
    return in_common_dtype(t, rows)


def _rows(name: str, baseline: Tensor | float, like: Tensor) -> Tensor:
    """Converts a baseline to rows of an input's features, in the baseline's own dtype."""
    if not isinstance(baseline, Tensor):
        return _number(name, baseline, like).expand(1, *like.shape[1:])
    check_dense(name, baseline)
    # Captum also takes a baseline without the batch dimension.
    rows = baseline.unsqueeze(0) if baseline.shape == like.shape[1:] else baseline
    if rows.shape[1:] != like.shape[1:] or rows.shape[0] == 0:
        raise InvalidArgument(
            name,
            f"a tensor of shape {tuple(baseline.shape)}",
            f"(rows, *features) with the input's features, {tuple(like.shape[1:])}",
        )
    return rows.detach()


def _number(name: str, number: float, like: Tensor) -> Tensor:
    """Converts a number to a tensor; a fraction beside integers gets the default dtype."""
    try:
        made = torch.tensor(number)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise InvalidArgument(name, f"{number:g}", "within the range of int64") from error
    if not made.is_floating_point():
        return made
    exact = torch.tensor(number, dtype=torch.float64)
    return exact if like.is_floating_point() else in_floating_dtype(name, exact, made.dtype)


def in_floating_dtype(name: str, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounds baselines to the floating-point dtype of their input or layer.

    Raises:
        InvalidArgument: If that has no such numbers.
    """
    if rows.is_complex() and not dtype.is_complex:
        raise InvalidArgument(name, f"of dtype {rows.dtype}", f"real, as {dtype}")
    made = rows.to(dtype)
    if made.dtype != rows.dtype and bool((made.isinf() & ~rows.isinf()).any()):
        raise InvalidArgument(name, "a number too large", f"within the range of {dtype}")
    return made


def in_common_dtype(t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Converts an integer or bool input and its baseline to the input's dtype, or a common one."""
    rows = rows.to(t.device)
    made = rows.to(t.dtype)
    if torch.equal(made.to(rows.dtype), rows):
        return t, made
    common = torch.promote_types(t.dtype, rows.dtype)
    if not torch.equal(t.to(common).to(t.dtype), t):
        # Integers that float32 does not hold.
        common = torch.promote_types(common, torch.float64)
    return t.to(common), rows.to(common)


def given_masks(masks: Tensors, inputs: tuple[Tensor, ...], *, inside: bool) -> tuple[Tensor, ...]:
    """Brings feature masks to int64.

    Args:
        masks: A tensor, or one per input.
        inputs: The inputs.
        inside: Whether the masks are of the values at a site.

    Raises:
        InvalidArgument: If one is not of whole numbers, or does not fit its input.
    """
    each = (masks,) if isinstance(masks, Tensor) else tuple(masks)
    for i, mask in enumerate(each):
        check_dense(f"feature_mask[{i}]", mask)
        if mask.is_floating_point() or mask.dtype == torch.bool:
            raise InvalidArgument(
                f"feature_mask[{i}]", f"of dtype {mask.dtype}", "an integer dtype"
            )
    each = tuple(m.detach().to(device=inputs[0].device, dtype=torch.int64) for m in each)
    if inside:
        # Only the forward knows the values at the site, and checks whether a mask fits.
        return each
    if len(each) != len(inputs):
        raise InvalidArgument(
            "feature_mask", f"{len(each)} of them", f"one per input: {len(inputs)}"
        )
    for i, (mask, t) in enumerate(zip(each, inputs, strict=True)):
        try:
            fits = torch.broadcast_shapes(mask.shape, t.shape) == t.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise InvalidArgument(
                f"feature_mask[{i}]",
                f"a tensor of shape {tuple(mask.shape)}",
                f"it must broadcast to one example, {(1, *t.shape[1:])}, or to all, "
                f"{tuple(t.shape)}",
            )
    return tuple(m.to(t.device) for m, t in zip(each, inputs, strict=True))


def check_dense(name: str, tensor: Tensor) -> None:
    """Refuses a tensor whose rows cannot be cut out and stacked.

    Raises:
        InvalidArgument: If the tensor of that name is sparse or nested.
    """
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        raise InvalidArgument(name, f"a {kind} tensor", "a dense one")
