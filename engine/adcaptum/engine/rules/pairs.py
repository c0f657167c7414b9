"""Pairs of rows of a batch and the reference rows that they are compared with.

Rows of examples stand first in the batch, then the distinct rows that they are compared with; one
reference row may serve many examples. Reference rows whose values are recorded are not in the
batch: their values are read from a trace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.rules.reference_trace import ReferenceTrace
from adcaptum.engine.rules.row_places import RowPlaces


class Pairs(RowPlaces):
    """Pairs of example rows and reference rows in one batch.

    Attributes:
        rows: The number of rows of the batch, those of references included.
        examples: The number of examples; they stand first.
        trace: Recorded values of reference rows, and the record of this batch; None: neither.
    """

    def __init__(self, index: Tensor, references: int, trace: ReferenceTrace | None = None) -> None:
        """Makes the pairs of a batch.

        Args:
            index: The number of each example's reference row, from 0; int64 of shape
                (examples,) on the CPU.
            references: The number of reference rows, recorded ones included.
            trace: The trace of the recorded ones, which come first.
        """
        self.examples = index.shape[0]
        self.trace = trace
        fresh = references if trace is None else trace.fresh
        super().__init__(self.examples + fresh)
        self._single = references == 1
        self._in_order, self._index = True, index
        if not self._single:
            own = torch.arange(references)
            self._in_order = references == self.examples and torch.equal(index, own)
            # Without a trace the reference rows are behind those of the examples, else apart.
            self._index = torch.cat([index, own[references - fresh :]])
            if trace is None:
                self._index += self.examples

    def of(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """Returns the values of each row's reference row; a reference row's reference is itself.

        Args:
            x: A tensor with all rows of the batch in it.
            like: A tensor of the same shape whose rows are known to be where x has them.

        Returns:
            A tensor that broadcasts to the shape of x, without a graph.

        Raises:
            RowsLost: If it is not known where the rows are.
        """
        stride = self.stride(x if like is None else like)
        x = x.detach()
        if self.rows == 1:
            return self._known_trace.one(x)
        first = stride * self.rows == x.numel() and x.shape[0] == self.rows
        blocks = x if first else x.reshape(-1, self.rows, stride)
        dim = 0 if first else 1
        starts = blocks
        if self._single or self.trace is not None:
            starts = blocks.narrow(dim, self.examples, self.rows - self.examples)
            if self.trace is not None:
                starts = self.trace.starts(starts, dim)
        if not self._single:
            starts = starts.index_select(dim, self._on(x.device))
        elif not first:
            starts = starts.expand_as(blocks)
        return starts if first else starts.reshape(x.shape)

    def example_rows(self, *tensors: Tensor) -> int | None:
        """Returns how many first entries of the tensors need multipliers; None: all.

        Reference rows send no gradient back: where the rows are the first dimension of all
        tensors, the entries of the examples suffice.
        """
        for x in tensors:
            if x.dim() == 0 or x.shape[0] != self.rows or not self.leads(x):
                return None
        return self.examples

    def references_of(self, x: Tensor, count: int | None, like: Tensor | None = None) -> Tensor:
        """Returns the reference values of the first `count` entries (see `example_rows`, `of`)."""
        if count is None or self._single:
            return self.of(x, like)
        x = x.detach()
        if self.trace is not None:
            starts = self.trace.starts(x[count:], 0)
            return starts if self._in_order else starts.index_select(0, self._on(x.device)[:count])
        return x[count:] if self._in_order else x.index_select(0, self._on(x.device)[:count])

    def is_common(self, t: Tensor, like: Tensor) -> bool:
        """Returns whether a tensor is the same for all rows of `like`, to which it broadcasts.

        Such a tensor has no dimension of rows, or one of length 1. In a batch of one row the shape
        does not decide: there the tensor is common if the recorded batch read no reference values.
        """
        if t.dim() == like.dim() and t.shape[:1] != (1,):
            return False
        return self.leads(like) and (self.rows > 1 or self.asks_no_more)

    @property
    def asks_no_more(self) -> bool:
        """True if the current operation of a one-row batch has no recorded values left to read."""
        return self.rows == 1 and not self._known_trace.more

    def forget_references(self, t: Tensor, like: Tensor) -> None:
        """Sets the entries of reference rows to zero, in place, where they come last.

        Reference rows send no gradient back. They equal their references, so every quotient of
        differences is 0 / 0 there, which the caller would have to replace.
        """
        if self.rows > self.examples and t.shape[0] == self.rows and self.leads(like):
            t[self.examples :] = 0

    @property
    def _known_trace(self) -> ReferenceTrace:
        assert self.trace is not None, "the reference row of a batch of one row is on a trace"
        return self.trace

    def _on(self, device: torch.device) -> Tensor:
        if self._index.device != device:
            self._index = self._index.to(device)
        return self._index
