"""A cache of a model's values at reference rows, from batch to batch.

Rules:
1. The cache records a reference row when it first comes, and serves it from then on.
2. It recognises a row by a fingerprint of its bits and of the further arguments that come with it,
   among rows of evaluations of equal keys.
3. The records take no more than `most_bytes`. A record makes room for others, the least recently
   used first, once it has not been used for `RESTING` batches. If more rows take turns than there
   is room for, some of them stay, instead of each being dropped before it comes again.
4. Operations may mix rows if they have no rule or leave the rows' places unknown, unless the model
   is known not to mix rows. Models with such operations have no records.
5. If a model disagrees with its record (see `rules.reference_trace`), that batch runs with its
   reference rows, as if there were no cache; after a second time all batches do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any, Final

import torch
from torch import Tensor

from adcaptum.engine.rules.reference_trace import Record, ReferenceTrace, Source
from adcaptum.engine.vocabulary.evaluation import Evaluation, Key
from adcaptum.engine.vocabulary.references import ReferenceRows
from adcaptum.engine.vocabulary.target import Neuron

MOST_BYTES: Final = 64 << 20
"""The default bound of a model's records."""

RESTING: Final = 64
"""Batches without use after which a record makes room."""

DISAGREEMENTS: Final = 2
"""Disagreements after which nothing is recorded of a model."""

# The number of kinds of rows whose record size is remembered.
_KINDS = 1024

_Name = tuple[Key, Hashable]
_NOTHING: Final[dict[Hashable, Any]] = {}


class _Kept:
    """A record and the time of its last use."""

    __slots__ = ("names", "nbytes", "record", "used")

    def __init__(self, record: Record, names: tuple[_Name, ...], used: int) -> None:
        self.record = record
        self.names = names
        self.nbytes = record.nbytes
        self.used = used


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """The known and the unknown reference rows of one batch.

    Attributes:
        trace: Reads the known ones, and records others.
        index: For each example row the trace's row that it is compared with.
        rows: The number of the trace's rows, those included that the batch evaluates.
        fresh: The numbers of the batch's reference rows that are to be evaluated.
        names: The names under which these are recorded.
        kept: Those of them that are recorded, int64; None: none.
    """

    trace: ReferenceTrace
    index: Tensor
    rows: int
    fresh: list[int]
    names: tuple[_Name, ...]
    kept: Tensor | None


class ReferenceMemory:
    """The cache of a model's values at reference rows; threads may share it.

    Attributes:
        most_bytes: The bound of the records, in bytes.
        independent: Whether the model is known not to mix rows.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, *, independent: bool = False) -> None:
        """Makes an empty cache, for one model whose weights do not change.

        Args:
            most_bytes: The bound of the records, in bytes.
            independent: Whether the model is known not to mix the rows of a batch.
        """
        self.independent = independent
        self.most_bytes = most_bytes
        self._lock = Lock()
        self._time = 0
        self._bytes = 0
        self._rows: dict[Key, dict[Hashable, tuple[_Kept, int]]] = {}
        self._records: OrderedDict[_Kept, None] = OrderedDict()
        self._row_bytes: dict[Key, int] = {}
        self._disagreements = 0

    @property
    def nbytes(self) -> int:
        """The size of the records, in bytes."""
        return self._bytes

    def __len__(self) -> int:
        """Returns the number of known reference rows."""
        return sum(map(len, self._rows.values()))

    def serves(self, evaluation: Evaluation) -> bool:
        """Returns whether the cache may serve reference rows of an evaluation.

        Never under autocast, where a model gives other values than without it.
        """
        return (
            self._disagreements < DISAGREEMENTS
            and evaluation.references is not None
            and evaluation.forward_rows is None
            and not torch.is_autocast_enabled(evaluation.references.tensors[0].device.type)
            and evaluation.arguments.lasting
            and not any(
                isinstance(each, Neuron) and callable(each.index)
                for each in (evaluation.target, evaluation.through)
            )
        )

    def look_up(self, key: Key, references: ReferenceRows) -> Lookup:
        """Finds the known reference rows of a batch.

        Args:
            key: The key of the batch's evaluations.
            references: The rows, with their prints.
        """
        assert references.prints is not None, "rows are known by their prints"
        with self._lock:
            self._time += 1
            rows = self._rows.get(key, _NOTHING)
            fresh: list[int] = []
            known: dict[_Kept, list[tuple[int, int]]] = {}
            for number, print_ in enumerate(references.prints):
                found = rows.get(print_)
                if found is None:
                    fresh.append(number)
                else:
                    known.setdefault(found[0], []).append((number, found[1]))
            for each in known:
                each.used = self._time
                self._records.move_to_end(each)
            wanted, room = self._wanted(key, len(fresh)) if fresh else (0, 0)
        names = tuple([(key, references.prints[number]) for number in fresh])
        sources, places, count = _arranged(known, fresh)
        kept = torch.arange(wanted) if wanted else None
        index = references.index
        if known and len(places) > 1:
            index = torch.tensor(places)[index]
        trace = ReferenceTrace(sources, len(fresh), kept, room)
        return Lookup(trace, index, count, fresh, names, kept)

    def keep(
        self, lookup: Lookup, outputs: Tensor, leaves: tuple[Tensor, ...], *, whole: bool
    ) -> None:
        """Ends a batch: keeps the records that it made.

        Args:
            lookup: The lookup of the batch.
            outputs: The outputs of the evaluated reference rows.
            leaves: Their values where gradients are taken.
            whole: Whether the model was run to its end.

        Raises:
            TraceMismatch: If the model did fewer operations than the record has.
        """
        trace = lookup.trace
        record = trace.record(outputs, leaves, whole=whole)
        if lookup.kept is None:
            return
        if record is not None and outputs.is_cuda:
            # Waits for the copies: another stream may be the first to read the record.
            torch.cuda.current_stream(outputs.device).synchronize()
        with self._lock:
            size = self.most_bytes + 1 if trace.spoilt else trace.row_bytes
            self._remember_size(lookup.names[0][0], size)
            if record is not None:
                self._add([lookup.names[number] for number in lookup.kept.tolist()], record)

    def disagree(self) -> None:
        """Drops all records, because the model's operations differ from the recorded ones."""
        with self._lock:
            self._disagreements += 1
            self._rows.clear()
            self._records.clear()
            self._bytes = 0

    def _wanted(self, key: Key, rows: int) -> tuple[int, int]:
        """Returns how many of the unknown rows to record, and the bytes that they may take."""
        each = self._row_bytes.get(key)
        wanted = inf if each is None else rows * each
        room = self.most_bytes - self._bytes
        for kept in self._records:
            if room >= wanted or self._time - kept.used < RESTING:
                break
            room += kept.nbytes
        return rows if each is None else min(rows, room // max(each, 1)), room

    def _remember_size(self, key: Key, row_bytes: int) -> None:
        if len(self._row_bytes) >= _KINDS:
            self._row_bytes.clear()
        self._row_bytes[key] = row_bytes

    def _add(self, names: Sequence[_Name], record: Record) -> None:
        if all(print_ in self._rows.get(key, _NOTHING) for key, print_ in names):
            return  # another thread was faster
        made = _Kept(record, tuple(names), self._time)
        while self._bytes + made.nbytes > self.most_bytes:
            oldest = next(iter(self._records), None)
            if oldest is None or self._time - oldest.used < RESTING:
                return
            self._drop(oldest)
        self._records[made] = None
        self._bytes += made.nbytes
        for row, (key, print_) in enumerate(names):
            self._rows.setdefault(key, {})[print_] = (made, row)

    def _drop(self, kept: _Kept) -> None:
        del self._records[kept]
        self._bytes -= kept.nbytes
        for key, print_ in kept.names:
            rows = self._rows.get(key, _NOTHING)
            if print_ in rows and rows[print_][0] is kept:
                del rows[print_]
                if not rows:
                    del self._rows[key]


def _arranged(
    known: dict[_Kept, list[tuple[int, int]]], fresh: list[int]
) -> tuple[list[Source], list[int], int]:
    """Returns a batch's sources, the place of each reference row, and the number of rows.

    Args:
        known: The numbers of reference rows, and their rows in a record, by record.
        fresh: The numbers of those that are evaluated.
    """
    places = [0] * (sum(map(len, known.values())) + len(fresh))
    sources: list[Source] = []
    start = 0
    for kept, members in known.items():
        rows = [row for _, row in members]
        alone = len(known) == 1 and not fresh and len(rows) > 1
        if alone or rows == list(range(kept.record.rows)):
            # Rows are gathered from it for the examples anyway.
            sources.append(Source(kept.record))
            found = rows
        else:
            sources.append(Source(kept.record, torch.tensor(rows)))
            found = list(range(len(rows)))
        for (number, _), place in zip(members, found, strict=True):
            places[number] = start + place
        start += kept.record.rows if sources[-1].rows is None else len(rows)
    for number in fresh:
        places[number] = start
        start += 1
    return sources, places, start
