"""Attributions that callers give to be measured."""

from __future__ import annotations

from torch import Tensor

from adcaptum.attr.errors import InvalidInput


def checked_attributions(attributions: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Returns attributions as a tuple of one per input.

    Raises:
        InvalidInput: If there is not one for each input, of its shape.
    """
    each = attributions if isinstance(attributions, tuple) else (attributions,)
    if len(each) != len(inputs):
        raise InvalidInput("attributions", f"{len(each)} of them", f"one per input: {len(inputs)}")
    for i, (a, t) in enumerate(zip(each, inputs, strict=True)):
        if not isinstance(a, Tensor) or a.shape != t.shape:
            found = f"of shape {tuple(a.shape)}" if isinstance(a, Tensor) else f"of {type(a)}"
            raise InvalidInput(f"attributions[{i}]", found, f"its input's: {tuple(t.shape)}")
    return each


def own_attributions(attributions: object) -> tuple[Tensor, ...]:
    """Returns attributions that are measured without inputs as a tuple.

    Raises:
        InvalidInput: If they are not tensors of the same number of rows, with elements.
    """
    each = attributions if isinstance(attributions, tuple) else (attributions,)
    if not each or not all(isinstance(a, Tensor) and a.dim() > 1 for a in each):
        kinds = [tuple(a.shape) if isinstance(a, Tensor) else type(a) for a in each]
        raise InvalidInput("attributions", kinds, "tensors (examples, *features)")
    if len({len(a) for a in each}) > 1 or not any(a.numel() for a in each):
        shapes = [tuple(a.shape) for a in each]
        raise InvalidInput("attributions", f"of shapes {shapes}", "of the same examples, not empty")
    return each
