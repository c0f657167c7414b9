"""Packing of slices of many evaluations into one device batch.

Rules:
1. All slices of a batch have evaluations of equal keys.
2. Rows stand in the batch in the order of the slices.
3. Evaluations with a number of rows per forward (`forward_rows`) get forwards of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Rows, some
from adcaptum.engine.vocabulary.arguments import PerExample, Shared
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.references import ReferenceRows
from adcaptum.engine.vocabulary.target import Neuron, Output


@dataclass(frozen=True, slots=True, eq=False)
class RowRange:
    """Rows start..stop of an evaluation."""

    evaluation: Evaluation
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def forwards(self) -> list[RowRange]:
        """The whole forwards that contain these rows, of an evaluation with forwards of its own."""
        evaluation = self.evaluation
        each = evaluation.forward_rows
        assert each is not None, "it has forwards of its own"
        last = len(evaluation.rows)
        starts = range(self.start // each * each, self.stop, each)
        return [RowRange(evaluation, start, min(start + each, last)) for start in starts]


def pack_rows(slices: Sequence[tuple[Rows, int, int]]) -> tuple[Tensor, ...]:
    """Makes the rows of all slices, one tensor per input."""
    if len(slices) == 1:
        rows, start, stop = slices[0]
        return rows.take(start, stop)
    parts = [
        kind.take_many(list(same))
        for kind, same in groupby(slices, key=lambda piece: type(piece[0]))
    ]
    return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))


def pack_arguments(slices: Sequence[RowRange]) -> list[object]:
    """Makes the further arguments of all slices' rows."""
    packed: list[object] = []
    if not slices[0].evaluation.arguments.values:
        return packed
    for i, argument in enumerate(slices[0].evaluation.arguments.values):
        if isinstance(argument, Shared):
            packed.append(argument.value)
            continue
        parts = []
        for piece in slices:
            value = piece.evaluation.arguments.values[i]
            assert not isinstance(value, Shared), "equal keys have equal kinds of arguments"
            examples = piece.evaluation.rows.examples(piece.start, piece.stop)
            parts.append(value.tensor.index_select(0, _there(examples, value.tensor)))
        packed.append(parts[0] if len(parts) == 1 else torch.cat(parts))
    return packed


def pack_references(slices: Sequence[RowRange], *, printed: bool = False) -> ReferenceRows | None:
    """Collects the distinct reference rows of all slices; None if they have none.

    Args:
        slices: The slices of the batch.
        printed: Whether to add fingerprints.
    """
    parts = []
    for piece in slices:
        references = piece.evaluation.references
        if references is None:
            return None
        prints: tuple[Hashable, ...] | None = None
        index = references.index[piece.start : piece.stop]
        of_example = [a for a in piece.evaluation.arguments.values if isinstance(a, PerExample)]
        if of_example:
            examples = piece.evaluation.rows.examples(piece.start, piece.stop)
            alike = piece.evaluation.arguments.alike
            examples = examples if alike is None else alike[examples]
            both = torch.stack([index, examples], 1)
            distinct, number = both.unique(dim=0, return_inverse=True)
            chosen, example = distinct.unbind(1)
            arguments = tuple(a.tensor[_there(example, a.tensor)] for a in of_example)
            prints = _pair_prints(piece.evaluation, distinct) if printed else None
        elif len(references.tensors[0]) == 1:
            chosen, number, arguments = index[:1], index, ()
        else:
            chosen, number = index.unique(return_inverse=True)
            arguments = ()
        tensors = tuple([t.detach() for t in references.tensors])
        if of_example or len(tensors[0]) > 1:
            tensors = tuple([t[_there(chosen, t)] for t in tensors])
        if printed and not of_example:
            prints = tuple([references.prints[row] for row in chosen.tolist()])
        parts.append(ReferenceRows(tensors, arguments, number, prints))
    return ReferenceRows.joined(parts)


def _there(index: Tensor, like: Tensor) -> Tensor:
    """Returns an index of the CPU's on the device of a tensor; the copy is not waited for."""
    return index if like.is_cpu else index.to(like.device, non_blocking=True)


def _pair_prints(evaluation: Evaluation, pairs: Tensor) -> tuple[Hashable, ...]:
    """Returns the fingerprints of pairs of a reference row and an example's further arguments."""
    assert evaluation.references is not None, "rows are compared"
    of_rows, of_examples = evaluation.references.prints, evaluation.arguments.prints
    return tuple([(of_rows[row], of_examples[example]) for row, example in pairs.tolist()])


def columns_of(piece: RowRange, *, alone: bool = False) -> Tensor | int | None:
    """Returns the index of each row's target, (rows, dims), on the CPU; None if it needs none.

    Args:
        piece: The rows.
        alone: Whether they are a batch: then an index that all rows share may be a number.
    """
    target = piece.evaluation.target
    if isinstance(target, Neuron) and target.one:
        return torch.tensor([target.index], dtype=torch.int64).expand(len(piece), -1)
    if not isinstance(target, Output):
        return None
    if target.index is not None:
        return target.index if alone else torch.full((len(piece), 1), target.index)
    return None if target.indices is None else _of_rows(target.indices, piece)


def _of_rows(indices: Tensor, piece: RowRange) -> Tensor:
    """Returns the indices of each row, of indices of each example or of all."""
    if indices.shape[0] == 1:
        return indices.expand(piece.stop - piece.start, -1)
    rows = piece.evaluation.rows
    if rows.per_example == 1:
        return some(indices, piece.start, piece.stop)
    return indices.index_select(0, rows.examples(piece.start, piece.stop))
