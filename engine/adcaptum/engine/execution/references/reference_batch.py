"""The reference rows of one batch, evaluated or read from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.execution.packing import RowRange, pack_references
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.rows.sources import some
from adcaptum.engine.rules import Pairs
from adcaptum.engine.vocabulary.arguments import Arguments
from adcaptum.engine.vocabulary.evaluation import Key
from adcaptum.engine.vocabulary.references import ReferenceRows


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """The outputs of a batch's reference rows, and their values where gradients are taken.

    Attributes:
        outputs: The explained numbers, or the outputs that they are among, (references, *dims).
        output_index: For each example the number of its reference among them.
        values: The values where gradients are taken, (references, *features) each.
        value_index: For each example the number of its reference among them.
    """

    outputs: Tensor
    output_index: Tensor
    values: tuple[Tensor, ...]
    value_index: Tensor

    def output(self) -> Tensor:
        """Returns the outputs of each example's reference, (examples, *dims)."""
        return _of_each(self.outputs, self.output_index)

    def contributions(
        self, multipliers: tuple[Tensor, ...], leaves: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Returns multipliers times the difference from the reference, where they were taken.

        Args:
            multipliers: The multipliers of the examples' rows.
            leaves: The values at that place, those of the examples first.
        """
        made = []
        for m, leaf, start in zip(multipliers, leaves, widened(self.values), strict=True):
            (value,) = widened((some(leaf.detach(), 0, m.shape[0]),))
            made.append((value - _of_each(start, self.value_index)) * m)
        return tuple(made)


class ReferenceBatch:
    """Reference rows beside the examples of a batch.

    Attributes:
        rows: The number of reference rows that the batch evaluates; they come behind the examples.
        pairs: The reference of each example.
    """

    def __init__(
        self, references: ReferenceRows, memory: ReferenceMemory | None, key: Key | None
    ) -> None:
        self._references = references
        self._memory = memory
        self._lookup = None
        if memory is not None and key is not None:
            self._lookup = memory.look_up(key, references)
        if self._lookup is None:
            self.rows = len(references)
            self.pairs = Pairs(references.index, self.rows)
        else:
            known = self._lookup
            self.rows = len(known.fresh)
            self.pairs = Pairs(known.index, known.rows, known.trace)

    @classmethod
    def of(
        cls, slices: Sequence[RowRange], memory: ReferenceMemory | None
    ) -> ReferenceBatch | None:
        """Collects the reference rows of slices of equal keys; None if they have none.

        Args:
            slices: The slices of the batch.
            memory: The cache of the model's reference rows; None: none.
        """
        first = slices[0].evaluation
        if first.references is None:
            return None
        if memory is not None and not all(memory.serves(piece.evaluation) for piece in slices):
            memory = None
        references = pack_references(slices, printed=memory is not None)
        assert references is not None, "equal keys have references or have none"
        return cls(references, memory, None if memory is None else first.key)

    def below(
        self, inputs: list[Tensor], packed: list[object], arguments: Arguments
    ) -> tuple[list[Tensor], list[object]]:
        """Returns the rows of the batch: the examples, then the reference rows that it evaluates.

        Args:
            inputs: The examples' rows.
            packed: Their further arguments, packed.
            arguments: The further arguments of the evaluation.
        """
        if not self.rows:
            return inputs, packed
        references = self._references
        if self.rows < len(references):
            assert self._lookup is not None, "some rows are known"
            references = references.only(torch.tensor(self._lookup.fresh))
        return references.below(inputs, packed, arguments)

    def end(
        self, objective: Tensor, inside: tuple[Tensor, ...], *, whole: bool, sure: bool
    ) -> Starts:
        """Ends the model's forward: puts its record into the cache.

        Args:
            objective: The explained numbers of all rows, or the outputs that they are among.
            inside: The values of all rows where gradients are taken; empty if that is the inputs.
            whole: Whether the model was run to its end.
            sure: Whether the rule covers all operations on the rows.

        Raises:
            TraceMismatch: If the model's operations differ from the recorded ones.
        """
        examples = self.pairs.examples
        outputs = objective.detach()[examples:]
        leaves = tuple(t.detach()[examples:] for t in inside)
        lookup = self._lookup
        index = self._references.index
        if lookup is not None and self._memory is not None:
            lookup.trace.spoilt |= not (sure or self._memory.independent)
            self._memory.keep(lookup, outputs, leaves, whole=whole)
            index, trace = lookup.index, lookup.trace
            outputs, leaves = trace.outputs(outputs), trace.leaves(leaves)
        if not inside:
            return Starts(outputs, index, self._references.tensors, self._references.index)
        return Starts(outputs, index, leaves, index)


def _of_each(rows: Tensor, index: Tensor) -> Tensor:
    """Returns the row of each example."""
    if rows.shape[0] == 1:
        return rows if index.shape[0] == 1 else rows.expand(index.shape[0], *rows.shape[1:])
    return rows[index if rows.is_cpu else index.to(rows.device, non_blocking=True)]
