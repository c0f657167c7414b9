"""Reference rows: the rows of a batch with which a rule compares an evaluation's rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from adcaptum.engine.rows.fingerprints import Fingerprint, fingerprints
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.vocabulary.arguments import Arguments, PerExample


@dataclass(frozen=True, eq=False)
class References:
    """The reference rows of an evaluation, under a rule that compares rows.

    A reference row that several rows share is evaluated once per batch; where the model has further
    arguments per example, once for those examples that have equal ones.

    Attributes:
        tensors: The reference rows, each (references, *features) of an input's features.
        index: The number of each row's reference, int64 of shape (rows,) on the CPU.
        multiply: Whether the gradients are multiplied by the difference between the values of the
            row and of its reference, at the place where they are taken.
    """

    tensors: tuple[Tensor, ...]
    index: Tensor
    multiply: bool = True

    @cached_property
    def signature(self) -> Hashable:
        """The part of a batch key: evaluations that share a batch have equal ones."""
        features = tuple((tuple(t.shape[1:]), t.dtype, t.device) for t in self.tensors)
        return (features, self.multiply)

    @cached_property
    def prints(self) -> tuple[Fingerprint, ...]:
        """The fingerprint of each reference row."""
        return fingerprints(self.tensors)

    def distinct(self, arguments: Arguments, rows: Rows) -> int:
        """Returns the number of reference rows to evaluate.

        Args:
            arguments: The further arguments of the evaluation.
            rows: The evaluation's rows.
        """
        if any(isinstance(a, PerExample) for a in arguments.values):
            examples = rows.examples(0, len(rows))
            if arguments.alike is not None:
                examples = arguments.alike[examples]
            return len(torch.stack([self.index, examples], 1).unique(dim=0))
        return 1 if self.tensors[0].shape[0] == 1 else len(self.index.unique())


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceRows:
    """The distinct reference rows of one batch.

    Attributes:
        tensors: For each input (references, *features).
        arguments: For each further argument with a value per example, (references, *features).
        index: The number of each example row's reference, int64 on the CPU.
        prints: A fingerprint of each; None: not computed.
    """

    tensors: tuple[Tensor, ...]
    arguments: tuple[Tensor, ...]
    index: Tensor
    prints: tuple[Hashable, ...] | None = None

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def below(
        self, inputs: list[Tensor], packed: list[object], arguments: Arguments
    ) -> tuple[list[Tensor], list[object]]:
        """Returns the rows of the batch: the examples, then the reference rows.

        Args:
            inputs: The examples' rows.
            packed: Their further arguments, packed.
            arguments: The further arguments of the evaluation.
        """
        rows = [torch.cat(both) for both in zip(inputs, self.tensors, strict=True)]
        own = iter(self.arguments)
        whole = []
        for argument, value in zip(arguments.values, packed, strict=True):
            if isinstance(argument, PerExample):
                assert isinstance(value, Tensor), "tensors are packed as tensors"
                value = torch.cat([value, next(own)])  # noqa: PLW2901 - the same, extended
            whole.append(value)
        return rows, whole

    def only(self, rows: Tensor) -> ReferenceRows:
        """Returns the reference rows of some int64 numbers (rows,), with the whole index."""
        tensors, arguments = (
            tuple(t.index_select(0, rows.to(t.device)) for t in each)
            for each in (self.tensors, self.arguments)
        )
        return ReferenceRows(tensors, arguments, self.index)

    @classmethod
    def joined(cls, parts: list[ReferenceRows]) -> ReferenceRows:
        """Joins those of several slices: equal rows become one."""
        if len(parts) == 1:
            return parts[0]
        counts = torch.tensor([0, *map(len, parts[:-1])]).cumsum(0)
        index = torch.cat([p.index + first for p, first in zip(parts, counts, strict=True)])
        tensors = tuple(map(torch.cat, zip(*(p.tensors for p in parts), strict=True)))
        arguments = tuple(map(torch.cat, zip(*(p.arguments for p in parts), strict=True)))
        if all(p.prints is not None for p in parts):
            return cls._of_prints(
                tensors, arguments, index, [q for p in parts for q in p.prints or ()]
            )
        numbers = torch.stack([_numbered(t) for t in (*tensors, *arguments)], 1)
        distinct, number = numbers.unique(dim=0, return_inverse=True)
        chosen = torch.empty(len(distinct), dtype=torch.int64, device=number.device)
        chosen[number] = torch.arange(len(number), device=number.device)
        return cls(
            tuple(t[chosen] for t in tensors),
            tuple(t[chosen] for t in arguments),
            number.cpu()[index],
        )

    @classmethod
    def _of_prints(
        cls,
        tensors: tuple[Tensor, ...],
        arguments: tuple[Tensor, ...],
        index: Tensor,
        prints: Sequence[Hashable],
    ) -> ReferenceRows:
        """Selects the rows with distinct fingerprints."""
        numbers: dict[Hashable, int] = {}
        number = torch.tensor([numbers.setdefault(each, len(numbers)) for each in prints])
        chosen = torch.empty(len(numbers), dtype=torch.int64)
        chosen[number] = torch.arange(len(number))
        rows = cls(tensors, arguments, number[index], tuple(numbers))
        return replace(rows.only(chosen), prints=rows.prints)


def _numbered(rows: Tensor) -> Tensor:
    """Numbers the rows, (rows,): equal rows have equal numbers."""
    return rows.reshape(len(rows), -1).unique(dim=0, return_inverse=True)[1]
