"""Baselines in Captum's forms."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature

from torch import Tensor

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.forms import BaselineType, Tensors
from adcaptum.engine.vocabulary.explicand_forms import check_dense


def baselines_of(baselines: object, inputs: Tensors) -> BaselineType:
    """Returns baselines, or calls the function of the inputs, or of nothing, that makes them."""
    if not callable(baselines):
        return baselines  # type: ignore[return-value]
    return baselines(inputs) if signature(baselines).parameters else baselines()


def each_baseline(
    baselines: BaselineType, inputs: tuple[Tensor, ...], *, distribution: bool
) -> Sequence[Tensor | float] | None:
    """Returns a number, or rows (rows, *features), for each input; None for none.

    Args:
        baselines: A number or a tensor, or a tuple of them.
        inputs: The inputs, (examples, *features) each.
        distribution: Whether there may be any number of rows; False: one, or one for each example.

    Raises:
        InvalidInput: If one has a form that is not allowed.
    """
    if baselines is None:
        return None
    each = baselines if isinstance(baselines, tuple) else (baselines,)
    spread = tuple(
        spread_baseline(f"baselines[{i}]", baseline, t)
        for i, (baseline, t) in enumerate(zip(each, inputs, strict=False))
    )
    for i, (rows, t) in enumerate(zip(spread, inputs, strict=False)):
        if isinstance(rows, Tensor) and not (distribution or rows.shape[:1] in {(1,), t.shape[:1]}):
            raise InvalidInput(
                f"baselines[{i}]",
                f"of shape {tuple(rows.shape)}",
                f"one for all, or one for each of the {len(t)} examples",
            )
    return spread + each[len(inputs) :]


def spread_baseline(name: str, baseline: Tensor | float, like: Tensor) -> Tensor | float:
    """Gives a baseline that broadcasts to an input all of the input's features.

    Args:
        name: The baseline's name in errors.
        baseline: A number, or a tensor. One of fewer dimensions than the input is laid along the
            last dimensions, as tensors broadcast.
        like: The input, (examples, *features).

    Returns:
        The number; or (rows, *features); or the tensor itself where it does not broadcast.

    Raises:
        InvalidInput: If it is neither a number nor a dense tensor.
    """
    if not isinstance(baseline, Tensor | int | float):
        raise InvalidInput(name, type(baseline), "a torch.Tensor or a number")
    if not isinstance(baseline, Tensor):
        return baseline
    with translated():
        check_dense(name, baseline)
    features = like.shape[1:]
    if baseline.dim() == like.dim():
        fits = all(b in {1, n} for b, n in zip(baseline.shape[1:], features, strict=True))
        return baseline.expand(-1, *features) if fits else baseline
    try:
        return baseline.expand(features)[None]
    except RuntimeError:
        return baseline
