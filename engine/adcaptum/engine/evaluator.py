"""Evaluation of one batch. This is the only file that calls a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from adcaptum.engine.errors import InvalidArgument, ModelError, NotDifferentiable
from adcaptum.engine.evaluation import INPUT, Evaluation, Neuron, Site
from adcaptum.engine.hooks import Taps
from adcaptum.engine.packing import Part, Slice, columns_of, pack_arguments, pack_rows

Model = nn.Module | Callable[..., object]
Index = tuple[Tensor, ...]


def evaluate(model: Model, slices: Sequence[Slice]) -> list[Part]:
    """Runs the model once on the rows of all slices.

    Args:
        model: The model; a plain function will do where no layer is named.
        slices: Parts of evaluations, all of equal keys.

    Returns:
        What the batch says of each slice, in order.

    Raises:
        InvalidArgument: If a target is out of the output's range, or a layer does not exist.
        ModelError: If the model's output or layer is not of a form that can be explained.
        Exception: Whatever the model raises.
    """
    first = slices[0].evaluation
    rows = sum(len(piece) for piece in slices)
    taps = Taps(rows)
    columns = [columns_of(piece) for piece in slices]
    with torch.inference_mode(mode=False), torch.set_grad_enabled(first.wrt is not None):
        inputs = list(pack_rows([(s.evaluation.rows, s.start, s.stop) for s in slices]))
        arguments = pack_arguments(slices)
        _set_taps(taps, first, slices)
        leaves: tuple[Tensor, ...] = ()
        if first.wrt == INPUT:
            leaves = tuple(t.requires_grad_() for t in inputs)
            inputs = [t.clone() for t in leaves]
        output = _first_tensor(_call(model, taps, [*inputs, *arguments]), rows)
        if first.wrt is not None and first.wrt != INPUT:
            leaves = taps.at(first.wrt).leaves
        objective = (
            taps.at(first.target.site).values[0] if isinstance(first.target, Neuron) else output
        )
        indices = _indices(objective, columns) if _share_target(slices) else None
        gradients = (
            () if first.wrt is None else _differentiate(objective, indices, leaves, first.wrt)
        )
    values = None if indices is None else objective.detach()[indices]
    activations = tuple(t.detach() for t in taps.at(first.read).values) if first.read else ()
    parts = []
    at = 0
    for piece, column in zip(slices, columns, strict=True):
        end = at + len(piece)
        parts.append(
            Part(
                _values(piece, objective.detach()[at:end], column)
                if values is None
                else values[at:end],
                tuple(t[at:end] for t in gradients),
                tuple(t[at:end] for t in activations),
            )
        )
        at = end
    return parts


def _set_taps(taps: Taps, first: Evaluation, slices: Sequence[Slice]) -> None:
    if first.wrt not in {None, INPUT}:
        assert first.wrt is not None
        taps.at(first.wrt).differentiate = True
    if first.read is not None:
        taps.at(first.read)
    if isinstance(first.target, Neuron):
        taps.at(first.target.site)
    if first.patch is not None:
        patches = [(s.evaluation.patch.rows, s.start, s.stop) for s in slices if s.evaluation.patch]
        taps.at(first.patch.site).patch = pack_rows(patches)


def _call(model: Model, taps: Taps, arguments: list[object]) -> object:
    if taps.empty:
        return model(*arguments)
    if not isinstance(model, nn.Module):
        raise ModelError("layers can be named only of an nn.Module")
    with taps.open(model):
        return model(*arguments)


def _first_tensor(output: object, rows: int) -> Tensor:
    tensor = output
    if not isinstance(tensor, Tensor):
        tensor = next((t for t in tree_leaves(output) if isinstance(t, Tensor)), None)
    if not isinstance(tensor, Tensor):
        raise ModelError(f"the model returned {type(output).__name__} without a tensor in it")
    if tensor.shape[:1] != (rows,):
        raise ModelError(
            f"the model's output has shape {tuple(tensor.shape)}: its first dimension should be "
            f"the {rows} rows of the batch"
        )
    return tensor


def _share_target(slices: Sequence[Slice]) -> bool:
    """Whether every slice has a target: then all are read at once. Predictions read raw outputs."""
    return all(piece.evaluation.target is not None for piece in slices)


def _indices(objective: Tensor, columns: Sequence[Tensor | None]) -> Index:
    """Where each row's target stands in the tensor that holds it.

    Raises:
        InvalidArgument: If a column does not name one number.
    """
    rows = torch.arange(len(objective), device=objective.device)
    if objective[0].numel() == 1 and all(c is None or not c.any() for c in columns):
        return (rows, *(torch.zeros_like(rows) for _ in objective.shape[1:]))
    given = [c for c in columns if c is not None]
    shape = tuple(objective.shape[1:])
    if len(given) < len(columns):
        raise InvalidArgument(
            "target", "not given", f"an index into the output of shape {shape} per row"
        )
    joint = given[0] if len(given) == 1 else _joined(given, shape)
    sizes = torch.tensor(shape, dtype=torch.int64)
    if joint.shape[1] != len(shape) or bool(((joint < -sizes) | (joint >= sizes)).any()):
        raise _out_of_range(joint, shape)
    return (rows, *joint.to(objective.device).unbind(1))


def _joined(columns: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    for column in columns:
        if column.shape[1] != len(shape):
            raise _out_of_range(column, shape)
    return torch.cat(list(columns))


def _out_of_range(columns: Tensor, shape: tuple[int, ...]) -> InvalidArgument:
    sizes = torch.tensor(shape, dtype=torch.int64)
    bad = columns
    if columns.shape[1] == len(shape):
        bad = columns[((columns < -sizes) | (columns >= sizes)).any(1)]
    return InvalidArgument(
        "target",
        str(tuple(bad[0].tolist())),
        f"an index into the output's shape without the rows, {shape}",
    )


def _differentiate(
    objective: Tensor, indices: Index | None, leaves: tuple[Tensor, ...], wrt: Site
) -> tuple[Tensor, ...]:
    assert indices is not None, "a gradient has a target"
    if not objective.requires_grad:
        raise NotDifferentiable(
            f"no gradient of the target reaches {wrt}: the model computes it without autograd, "
            "or the target does not depend on it"
        )
    # The gradient of the sum of all rows' targets: one backward pass, whatever the number of rows.
    seed = torch.zeros_like(objective)
    seed[indices] = 1
    return torch.autograd.grad(objective, leaves, seed, allow_unused=True, materialize_grads=True)


def _values(piece: Slice, objective: Tensor, columns: Tensor | None) -> Tensor:
    if piece.evaluation.target is None:
        return objective
    return objective[_indices(objective, [columns])]
