"""Which row of a batch is compared with which.

Rows of examples stand first in the batch, then the distinct rows that they are compared with; one
reference row may serve many examples. Reference rows of which all is known are not in the batch:
what they have is read from a tape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.rules.reference_trace import ReferenceTrace
from adcaptum.engine.rules.row_places import RowPlaces


class Pairs(RowPlaces):
    """Which row of a batch is compared with which.

    Attributes:
        rows: How many rows the batch has, those of references included.
        examples: How many of them are examples'; they stand first.
        tape: What is known of reference rows, or is written down; None: nothing.
    """

    def __init__(self, index: Tensor, references: int, tape: ReferenceTrace | None = None) -> None:
        """Takes the pairs.

        Args:
            index: For each example row the number of its reference row, from 0; int64 of shape
                (examples,) on the CPU.
            references: How many reference rows there are, those that are known included.
            tape: Where the known ones are, which come first.
        """
        self.examples = len(index)
        self.tape = tape
        fresh = references if tape is None else tape.fresh
        super().__init__(self.examples + fresh)
        self._single = references == 1
        self._in_order, self._index = True, index
        if not self._single:
            own = torch.arange(references)
            self._in_order = references == self.examples and torch.equal(index, own)
            # Without a tape the reference rows are behind those of the examples, else apart.
            self._index = torch.cat([index, own[references - fresh :]])
            if tape is None:
                self._index += self.examples

    def of(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """Each row's reference row; a reference row's is itself.

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
            return self._taped.one(x)
        first = stride * self.rows == x.numel() and x.shape[0] == self.rows
        blocks = x if first else x.reshape(-1, self.rows, stride)
        dim = 0 if first else 1
        starts = blocks
        if self._single or self.tape is not None:
            starts = blocks.narrow(dim, self.examples, self.rows - self.examples)
            if self.tape is not None:
                starts = self.tape.starts(starts, dim)
        if not self._single:
            starts = starts.index_select(dim, self._on(x.device))
        elif not first:
            starts = starts.expand_as(blocks)
        return starts if first else starts.reshape(x.shape)

    def explained(self, *tensors: Tensor) -> int | None:
        """How many entries of the first dimension need multipliers; None for all.

        No gradient comes from reference rows: where the rows are the first dimension of all
        tensors, only those of examples count.
        """
        for x in tensors:
            if x.dim() == 0 or len(x) != self.rows or not self.leads(x):
                return None
        return self.examples

    def compared(self, x: Tensor, count: int | None, like: Tensor | None = None) -> Tensor:
        """What the first entries of a tensor, `explained` so many, are compared with; see `of`."""
        if count is None or self._single:
            return self.of(x, like)
        x = x.detach()
        if self.tape is not None:
            starts = self.tape.starts(x[count:], 0)
            return starts if self._in_order else starts.index_select(0, self._on(x.device)[:count])
        return x[count:] if self._in_order else x.index_select(0, self._on(x.device)[:count])

    def common(self, t: Tensor, like: Tensor) -> bool:
        """Whether a tensor that broadcasts to another is the same for all rows, which come first.

        It has no rows then, or one for all. Of a batch of one row that says nothing: there it is
        the same if nothing was asked for of the references.
        """
        if t.dim() == like.dim() and t.shape[:1] != (1,):
            return False
        return self.leads(like) and (self.rows > 1 or self.unasked)

    @property
    def unasked(self) -> bool:
        """Whether a batch's only row is compared with nothing more by the operation under way."""
        return self.rows == 1 and not self._taped.more

    def forget_references(self, t: Tensor, like: Tensor) -> None:
        """Sets what is said of reference rows to zero, in place, where they come last.

        No gradient comes from them. They equal their references, so that every quotient of
        differences is 0 / 0 there, and would have to be mended.
        """
        if self.rows > self.examples and len(t) == self.rows and self.leads(like):
            t[self.examples :] = 0

    @property
    def _taped(self) -> ReferenceTrace:
        assert self.tape is not None, "a row without a reference row in the batch has one on a tape"
        return self.tape

    def _on(self, device: torch.device) -> Tensor:
        if self._index.device != device:
            self._index = self._index.to(device)
        return self._index
