"""Values of reference rows at each operation, recorded in one batch and read in later ones.

A rule that compares rows reads, operation by operation, the values of reference rows in some
tensors (`Pairs.of`), and nothing else of these rows: rows with recorded values need not be
evaluated. Handlers read the values in the same order in each batch, because a model does the same
operations whatever its rows are. If a model does other operations, or in other shapes, a method
here raises `TraceMismatch`, and the driver evaluates the batch with its reference rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class TraceMismatch(BaseException):  # a model may catch every Exception
    """The model's operations differ from the recorded ones."""


class Entry(NamedTuple):
    """Values of reference rows in one tensor.

    Attributes:
        values: (references, *features); or (outer, references, inner) where the rows do not come
            first.
        dim: The dimension of the references.
    """

    values: Tensor
    dim: int


class Operation(NamedTuple):
    """Values that the handler of one operation read.

    Attributes:
        name: The operation's name.
        entries: The values, in the order of reading.
    """

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Values of some reference rows at every operation; immutable.

    Attributes:
        operations: The operations, in the order in which the model does them.
        outputs: The explained number, or the outputs that it is chosen from, (references, *dims).
        leaves: The values at the place where gradients are taken, unless that is the inputs:
            (references, *features) each.
    """

    operations: tuple[Operation, ...]
    outputs: Tensor
    leaves: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        """Number of reference rows."""
        return len(self.outputs)

    @property
    def nbytes(self) -> int:
        """The size of all values, in bytes."""
        entries = (entry.values for each in self.operations for entry in each.entries)
        return sum(t.numel() * t.element_size() for t in (*entries, *self.leaves, self.outputs))


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Rows of a record.

    Attributes:
        record: The record.
        rows: The numbers of the rows, int64 of shape (rows,); None: all.
    """

    record: Record
    rows: Tensor | None = None

    def of(self, values: Tensor, dim: int = 0) -> Tensor:
        """Selects the rows from a tensor that has all rows of the record along a dimension."""
        if values.is_cuda:
            # The record may be dropped while another stream than the writing one still reads it.
            values.record_stream(torch.cuda.current_stream(values.device))
        if self.rows is None:
            return values
        if len(self.rows) == 1:
            return values.narrow(dim, int(self.rows), 1)
        return values.index_select(dim, self.rows.to(values.device))


class ReferenceTrace:
    """Reads recorded values of a batch's reference rows, and records the evaluated ones.

    The batch's reference rows are the recorded ones of the sources, then the evaluated ones.

    Attributes:
        fresh: The number of reference rows that the batch evaluates.
        begun: The number of operations that have begun.
        row_bytes: The size of one row's record so far, in bytes.
        spoilt: Whether the record of this batch is unusable.
    """

    def __init__(
        self, sources: Sequence[Source], fresh: int, kept: Tensor | None, most_bytes: int
    ) -> None:
        """Begins the trace of one batch.

        Args:
            sources: The recorded rows.
            fresh: The number of reference rows that the batch evaluates.
            kept: The numbers of the evaluated rows to record, int64; None: none.
            most_bytes: The most bytes of the new record; a larger one is dropped.
        """
        self.fresh = fresh
        self.begun = 0
        self.row_bytes = 0
        self.spoilt = False
        self._sources = tuple(sources)
        self._operations = sources[0].record.operations if sources else ()
        self._kept = kept
        self._left = most_bytes
        self._written: list[tuple[str, list[Entry]]] = []
        self._entries: tuple[Entry, ...] = ()
        self._asked = 0

    @property
    def _writes(self) -> bool:
        return self._kept is not None and self._left >= 0 and not self.spoilt

    @property
    def more(self) -> bool:
        """True if the recorded batch read more values in the current operation."""
        return self._asked < len(self._entries)

    def begin(self, name: str) -> None:
        """Begins an operation.

        Raises:
            TraceMismatch: If the record has another operation here.
        """
        number = self.begun
        self.begun = number + 1
        if self._writes:
            self._written.append((name, []))
        if not self._sources:
            return
        if self._asked < len(self._entries) or number >= len(self._operations):
            raise TraceMismatch
        recorded, entries = self._operations[number]
        if recorded != name or not all(_alike(each, number, name) for each in self._sources[1:]):
            raise TraceMismatch
        self._asked, self._entries = 0, entries

    def lost(self) -> None:
        """Gives up the record: the rows' places are unknown, and rows may have been mixed.

        Raises:
            TraceMismatch: If the batch uses recorded rows.
        """
        if self._sources:
            raise TraceMismatch
        self.spoilt = True

    def starts(self, own: Tensor, dim: int) -> Tensor:
        """Returns the values of the reference rows in a tensor.

        Args:
            own: The values of the evaluated reference rows, without a graph.
            dim: The dimension of the rows.

        Raises:
            TraceMismatch: If the record has no values of that form.
        """
        if self._kept is not None:
            self._write(own, dim, len(self._kept))
        if not self._sources:
            return own
        known = self._next(own.dtype, dim)
        if own.shape[dim]:
            known.append(own)
        for t in known:
            if t.shape[:dim] != own.shape[:dim] or t.shape[dim + 1 :] != own.shape[dim + 1 :]:
                raise TraceMismatch
        return known[0] if len(known) == 1 else torch.cat(known, dim)

    def one(self, x: Tensor) -> Tensor:
        """Returns the reference row's values for a tensor of a one-row batch."""
        if self._asked >= len(self._entries):
            raise TraceMismatch
        (start,) = self._next(x.dtype, self._entries[self._asked].dim)
        if start.shape == x.shape:
            return start
        if start.numel() != x.numel():
            raise TraceMismatch
        return start.reshape(x.shape)

    def outputs(self, own: Tensor) -> Tensor:
        """Returns the outputs of all reference rows, given those of the evaluated ones."""
        return self._completed([each.record.outputs for each in self._sources], own)

    def leaves(self, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns the values of all reference rows at the place where gradients are taken."""
        return tuple(
            self._completed([each.record.leaves[i] for each in self._sources], t)
            for i, t in enumerate(own)
        )

    def record(self, outputs: Tensor, leaves: tuple[Tensor, ...], *, whole: bool) -> Record | None:
        """Ends the batch and returns its record.

        Args:
            outputs: The outputs of the evaluated reference rows.
            leaves: Their values at the place where gradients are taken.
            whole: Whether the model ran to its end.

        Returns:
            The record; None if nothing was to be recorded, or it was too large.

        Raises:
            TraceMismatch: If the model did fewer operations than the record has.
        """
        if self._sources and (self.more or (whole and self.begun < len(self._operations))):
            raise TraceMismatch
        if not self._writes:
            return None
        written = tuple(Operation(name, tuple(entries)) for name, entries in self._written)
        return Record(written, self._chosen(outputs, 0), tuple(self._chosen(t, 0) for t in leaves))

    def _write(self, own: Tensor, dim: int, rows: int) -> None:
        nbytes = own.numel() // self.fresh * own.element_size()
        self.row_bytes += nbytes
        self._left -= nbytes * rows
        if self._writes:
            self._written[-1][1].append(Entry(self._chosen(own, dim), dim))
        else:
            self._written.clear()

    def _chosen(self, t: Tensor, dim: int) -> Tensor:
        """Copies the rows to record from those that the batch evaluates."""
        assert self._kept is not None, "something is kept"
        if len(self._kept) == self.fresh:
            return t.detach().clone()
        return t.detach().index_select(dim, self._kept.to(t.device))

    def _next(self, dtype: torch.dtype, dim: int) -> list[Tensor]:
        """Returns each source's recorded values for the next reading."""
        asked = self._asked
        if asked >= len(self._entries):
            raise TraceMismatch
        self._asked = asked + 1
        found = []
        for source in self._sources:
            entries = source.record.operations[self.begun - 1].entries
            if asked >= len(entries) or entries[asked].dim != dim:
                raise TraceMismatch
            values = entries[asked].values
            if values.dtype != dtype:
                raise TraceMismatch
            found.append(source.of(values, dim))
        return found

    def _completed(self, known: list[Tensor], own: Tensor) -> Tensor:
        parts = [each.of(t) for each, t in zip(self._sources, known, strict=True)]
        if len(own) or not parts:
            parts.append(own)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _alike(source: Source, number: int, name: str) -> bool:
    """Returns whether a source has an operation of that name at that number."""
    operations = source.record.operations
    return number < len(operations) and operations[number].name == name
