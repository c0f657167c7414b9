"""The reference rows of one batch: those that it evaluates, and those that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.execution.packing import RowRange, pack_references
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.rules import Pairs
from adcaptum.engine.vocabulary.arguments import Arguments
from adcaptum.engine.vocabulary.evaluation import Key
from adcaptum.engine.vocabulary.references import ReferenceRows


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """What the reference rows of a batch have at both ends.

    Attributes:
        outputs: What is explained, or what it is chosen from, (references, *dims).
        output_index: Which of them each example has.
        values: What they have where gradients are taken, (references, *features) each.
        value_index: Which of them each example has.
    """

    outputs: Tensor
    output_index: Tensor
    values: tuple[Tensor, ...]
    value_index: Tensor

    def output(self) -> Tensor:
        """The outputs of each example's reference, (examples, *dims)."""
        return _of_each(self.outputs, self.output_index)

    def contributions(
        self, multipliers: tuple[Tensor, ...], leaves: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Multipliers times what has changed from the reference, where they were taken.

        Args:
            multipliers: Of the examples' rows.
            leaves: The values there, those of the examples first.
        """
        made = []
        for m, leaf, start in zip(multipliers, leaves, widened(self.values), strict=True):
            (value,) = widened((leaf.detach()[: len(m)],))
            made.append((value - _of_each(start, self.value_index)) * m)
        return tuple(made)


class ReferenceBatch:
    """Reference rows beside the examples of a batch.

    Attributes:
        rows: How many reference rows the batch evaluates; they come behind the examples.
        pairs: Which example is compared with which.
    """

    def __init__(self, references: ReferenceRows, memory: ReferenceMemory | None, key: Key) -> None:
        self._references = references
        self._memory = memory
        self._recollection = None if memory is None else memory.recall(key, references)
        if self._recollection is None:
            self.rows = len(references)
            self.pairs = Pairs(references.index, self.rows)
        else:
            known = self._recollection
            self.rows = len(known.fresh)
            self.pairs = Pairs(known.index, known.rows, known.tape)

    @classmethod
    def of(
        cls, slices: Sequence[RowRange], memory: ReferenceMemory | None
    ) -> ReferenceBatch | None:
        """The reference rows of slices of equal keys; None if they are compared with none.

        Args:
            slices: Of the batch.
            memory: What is known of the model's reference rows; None: nothing.
        """
        first = slices[0].evaluation
        if first.references is None:
            return None
        if memory is not None and not all(memory.serves(piece.evaluation) for piece in slices):
            memory = None
        references = pack_references(slices, printed=memory is not None)
        assert references is not None, "equal keys have references or have none"
        return cls(references, memory, first.key)

    def below(
        self, inputs: list[Tensor], packed: list[object], arguments: Arguments
    ) -> tuple[list[Tensor], list[object]]:
        """The rows of the batch: the reference rows that it evaluates below the examples'.

        Args:
            inputs: The examples' rows.
            packed: Their further arguments, packed.
            arguments: The further arguments as they were asked for.
        """
        if not self.rows:
            return inputs, packed
        references = self._references
        if self.rows < len(references):
            assert self._recollection is not None, "some rows are known"
            references = references.only(torch.tensor(self._recollection.fresh))
        return references.below(inputs, packed, arguments)

    def end(
        self, objective: Tensor, inside: tuple[Tensor, ...], *, whole: bool, sure: bool
    ) -> Starts:
        """Ends the model's forward: keeps what was recorded of it.

        Args:
            objective: What is explained, or what it is chosen from, of all rows of the batch.
            inside: What all rows have where gradients are taken; empty if that is the inputs.
            whole: Whether the model was run to its end.
            sure: Whether the rule covers all that was done to the rows.

        Raises:
            Disagreement: If the model did not do what was recorded of it.
        """
        examples = self.pairs.examples
        outputs = objective.detach()[examples:]
        leaves = tuple(t.detach()[examples:] for t in inside)
        recollection = self._recollection
        index = self._references.index
        if recollection is not None and self._memory is not None:
            recollection.tape.spoilt |= not (sure or self._memory.independent)
            self._memory.keep(recollection, outputs, leaves, whole=whole)
            index, tape = recollection.index, recollection.tape
            outputs, leaves = tape.outputs(outputs), tape.leaves(leaves)
        if not inside:
            return Starts(outputs, index, self._references.tensors, self._references.index)
        return Starts(outputs, index, leaves, index)


def _of_each(rows: Tensor, index: Tensor) -> Tensor:
    """Which of some rows each example has."""
    if len(rows) == 1:
        return rows.expand(len(index), *rows.shape[1:])
    return rows[index.to(rows.device)]
