"""Lazy sources of rows: the model's inputs, made only when a batch needs them.

Rules:
1. A source is immutable; `take` may be called in any order, any number of times, from any thread,
   and row r is always the same.
2. `take` returns fresh memory: the model may overwrite it.
3. Rows are laid out example by example: row e * per_example + s is sample s of example e.
4. Tensors that `take` keeps are on the CPU. On other devices batches may run on streams of their
   own, and one could read a tensor before the stream of another has written it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Block = tuple[int, int, int, int]
# The shape, dtype and device of each tensor's rows.
Signature = tuple[tuple[tuple[int, ...], torch.dtype, torch.device], ...]


def blocks(start: int, stop: int, per_example: int) -> Iterator[Block]:
    """Cuts rows start..stop into at most three blocks of examples and samples."""
    first, offset = divmod(start, per_example)
    if offset:
        end = min(per_example, offset + stop - start)
        yield first, first + 1, offset, end
        start += end - offset
        first += 1
    whole = (stop - start) // per_example
    if whole:
        yield first, first + whole, 0, per_example
        start += whole * per_example
        first += whole
    if start < stop:
        yield first, first + 1, 0, stop - start


class Rows(ABC):
    """A source of rows: a tensor for each input of the model, or for each tensor at a site."""

    @property
    @abstractmethod
    def like(self) -> tuple[Tensor, ...]:
        """Tensors with the rows' features, dtypes and devices."""

    @property
    def count(self) -> int:
        """The number of examples."""
        return self.like[0].shape[0]

    @property
    @abstractmethod
    def per_example(self) -> int:
        """The number of rows of each example."""

    @abstractmethod
    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        """Makes samples s0..s1 of examples e0..e1, each tensor (e1 - e0, s1 - s0, *features)."""

    def __len__(self) -> int:
        return self.count * self.per_example

    @property
    def signature(self) -> Signature:
        """Shapes, dtypes and devices; rows of sources with equal ones may share a batch."""
        return tuple([(tuple(t.shape[1:]), t.dtype, t.device) for t in self.like])

    def examples(self, start: int, stop: int) -> Tensor:
        """The example of each of rows start..stop, int64 on the CPU."""
        rows = torch.arange(start, stop)
        each = self.per_example
        return rows if each == 1 else rows.div_(each, rounding_mode="floor")

    def take(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Makes rows start..stop, each tensor (stop - start, *features)."""
        if start == 0 and stop == len(self):
            return tuple(t.flatten(0, 1) for t in self.block(0, self.count, 0, self.per_example))
        parts = [
            tuple(t.flatten(0, 1) for t in self.block(*block))
            for block in blocks(start, stop, self.per_example)
        ]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    @classmethod
    def take_many(cls, slices: Sequence[tuple[Self, int, int]]) -> tuple[Tensor, ...]:
        """Makes slices of several sources of this class, one after another, in one go."""
        if len(slices) == 1:
            rows, start, stop = slices[0]
            return rows.take(start, stop)
        parts = [rows.take(start, stop) for rows, start, stop in slices]
        return tuple(map(torch.cat, zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Given(Rows):
    """Rows that exist already: one per example.

    Attributes:
        tensors: Each (examples, *features).
    """

    tensors: tuple[Tensor, ...]

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.tensors

    @property
    def per_example(self) -> int:
        return 1

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(t.detach()[e0:e1, None][:, s0:s1].clone() for t in self.tensors)

    def take(self, start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple([some(t.detach(), start, stop).clone() for t in self.tensors])

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    @classmethod
    def take_many(cls, slices: Sequence[tuple[Self, int, int]]) -> tuple[Tensor, ...]:
        if len(slices) == 1:
            rows, start, stop = slices[0]
            return rows.take(start, stop)
        parts = [[t.detach()[a:b] for t in rows.tensors] for rows, a, b in slices]
        return tuple(map(torch.cat, zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Repeated(Rows):
    """Each example again and again.

    Attributes:
        tensors: Each (examples, *features).
        times: The number of repetitions.
    """

    tensors: tuple[Tensor, ...]
    times: int

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.tensors

    @property
    def per_example(self) -> int:
        return self.times

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(
            some(t.detach(), e0, e1).unsqueeze(1).expand(-1, s1 - s0, *t.shape[1:]).clone()
            for t in self.tensors
        )


@dataclass(frozen=True, eq=False)
class Crossed(Rows):
    """Each of some values, for every example.

    Attributes:
        tensors: Each (values, *features).
        examples_count: The number of examples.
    """

    tensors: tuple[Tensor, ...]
    examples_count: int

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.tensors

    @property
    def count(self) -> int:
        return self.examples_count

    @property
    def per_example(self) -> int:
        return self.tensors[0].shape[0]

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(
            t.detach()[None, s0:s1].expand(e1 - e0, *(-1,) * t.dim()).clone() for t in self.tensors
        )


@dataclass(frozen=True, eq=False)
class Path(Rows):
    """Points on the straight line from a baseline to each example.

    Attributes:
        ends: Each (examples, *features).
        starts: Each of the same shape.
        alphas: The positions on the line, exactly 0 at the start and 1 at the end; float64 of
            shape (points,).
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    alphas: Tensor

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.alphas.shape[0]

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(
            # lerp is exact at both ends.
            torch.lerp(
                some(start, e0, e1).unsqueeze(1),
                some(end, e0, e1).unsqueeze(1),
                column(some(self.alphas, s0, s1), end),
            )
            for start, end in zip(self.starts, self.ends, strict=True)
        )

    @classmethod
    def take_many(cls, slices: Sequence[tuple[Self, int, int]]) -> tuple[Tensor, ...]:
        first = slices[0][0]
        # Many requests of one small example each: four operations in all instead of four for each.
        if len(slices) == 1 or any(rows.count > 1 for rows, _, _ in slices):
            return super().take_many(slices)
        lengths = torch.tensor([stop - start for _, start, stop in slices])
        which = torch.repeat_interleave(torch.arange(len(slices)), lengths)
        which = which.to(first.ends[0].device, non_blocking=True)
        alphas = torch.cat([rows.alphas[start:stop] for rows, start, stop in slices])
        made = []
        for i, like in enumerate(first.ends):
            ends = torch.cat([rows.ends[i] for rows, _, _ in slices])
            starts = torch.cat([rows.starts[i] for rows, _, _ in slices])
            made.append(torch.lerp(starts[which], ends[which], column(alphas, like)))
        return tuple(made)


def some(t: Tensor, start: int, stop: int) -> Tensor:
    """Entries start..stop of a tensor, in a new view only where they are not all."""
    return t if start == 0 and stop == t.shape[0] else t[start:stop]


_FEWEST_PINNED_BYTES = 1 << 16


def copied(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers made on the CPU, in the dtype and on the device of another tensor.

    The copy to a device is not waited for: a small one is staged by CUDA, a large one goes through
    pinned memory.
    """
    if like.is_cuda and numbers.nbytes >= _FEWEST_PINNED_BYTES:
        numbers = numbers.pin_memory()
    return numbers.to(like.device, like.dtype, non_blocking=True)


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """Shapes (n,) to (n, 1, ..., 1), so that it multiplies (n, *features) of `like`'s features."""
    there = numbers.to(device=like.device, dtype=like.dtype, non_blocking=True)
    return there.view(-1, *(1,) * (like.dim() - 1))
