"""What a model does with reference rows, kept from batch to batch.

Rules:
1. A reference row is recorded when it comes a second time: rows that never come again cost what
   telling them apart costs.
2. It is known again by a fingerprint of its bits and of the further arguments that come with it,
   among rows of evaluations of equal keys.
3. What is recorded takes no more than it may. Room is made by what was used least recently, and
   only if that was not used since the newcomer last came: of more rows than there is room for,
   that come in turns, some are kept, instead of each being dropped before it comes again.
4. What is done to the rows has to be known: operations that leave it unknown where the rows are may
   mix them, and so may those without a rule, unless the model is known not to. Of models that do
   such nothing is recorded.
5. Outputs that a row had at its first time and has no more at its second, in another batch, are the
   answers of a model that mixes rows after all, or answers by chance: they count as a disagreement.
6. A model that disagrees with what was recorded of it (see `rules.tape`) is evaluated with its
   references, as if there were no memory: that batch, and after a second time all others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from adcaptum.engine.rules.reference_trace import Record, ReferenceTrace, Source
from adcaptum.engine.vocabulary.evaluation import Evaluation, Key, Neuron
from adcaptum.engine.vocabulary.references import ReferenceRows

MOST_BYTES: Final = 64 << 20
"""What a model's records take at most, if nothing else is said."""

SIGHTINGS: Final = 4096
"""How many rows are remembered that have come once."""

DISAGREEMENTS: Final = 2
"""After so many a model is left alone."""

# Of an output so many numbers are compared.
_NUMBERS = 64
# Kinds of rows of which the size is remembered.
_KINDS = 1024

_Name = tuple[Key, Hashable]
_NOTHING: Final[dict[Hashable, Any]] = {}


class FirstUse(NamedTuple):
    """That a row has come.

    Attributes:
        time: When it last did, counted in batches.
        outputs: Some numbers of what the model made of it; None as long as nobody has said.
    """

    time: int
    outputs: Tensor | None


class _Kept:
    """A record and when it was last used."""

    __slots__ = ("names", "nbytes", "record", "used")

    def __init__(self, record: Record, names: tuple[_Name, ...], used: int) -> None:
        self.record = record
        self.names = names
        self.nbytes = record.nbytes
        self.used = used


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """What is known of the reference rows of one batch.

    Attributes:
        tape: Reads it, and writes down what is not known yet.
        index: For each example row which of the tape's rows it is compared with.
        rows: How many rows the tape has, those included that the batch evaluates.
        fresh: The numbers of the batch's reference rows that are to be evaluated.
        names: What tells these from others.
        kept: Which of these are recorded, int64; None: none.
        seen: When each of these came before; None: never.
    """

    tape: ReferenceTrace
    index: Tensor
    rows: int
    fresh: list[int]
    names: tuple[_Name, ...]
    kept: Tensor | None
    seen: tuple[FirstUse | None, ...]


class ReferenceMemory:
    """Keeps what a model makes of reference rows. Threads may share it.

    Attributes:
        most_bytes: What is kept takes at most so many bytes.
        independent: Whether the model is known not to mix rows.
    """

    def __init__(
        self, most_bytes: int = MOST_BYTES, *, at_once: bool = False, independent: bool = False
    ) -> None:
        """Makes an empty one, for one model whose weights do not change.

        Args:
            most_bytes: What is kept takes at most so many bytes.
            at_once: Whether rows are recorded as soon as they come, because they are going to come
                again; what has been kept is then kept for good.
            independent: Whether it is known that the model's answers to rows do not depend on the
                others of their batch.
        """
        self.independent = independent
        self.most_bytes = most_bytes
        self._at_once = at_once
        self._lock = Lock()
        self._time = 0
        self._bytes = 0
        self._rows: dict[Key, dict[Hashable, tuple[_Kept, int]]] = {}
        self._records: OrderedDict[_Kept, None] = OrderedDict()
        self._sightings: OrderedDict[_Name, FirstUse] = OrderedDict()
        self._row_bytes: dict[Key, int] = {}
        self._disagreements = 0

    @property
    def nbytes(self) -> int:
        """What is kept takes so many bytes."""
        return self._bytes

    def __len__(self) -> int:
        """How many reference rows are known."""
        return sum(map(len, self._rows.values()))

    def serves(self, evaluation: Evaluation) -> bool:
        """Whether reference rows of an evaluation may be known.

        Under autocast a model gives other values than without it: there they never are.
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

    def recall(self, key: Key, references: ReferenceRows) -> Lookup:
        """What is known of the reference rows of a batch.

        Args:
            key: Of the batch's evaluations.
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
            names = tuple([(key, references.prints[number]) for number in fresh])
            seen = tuple([self._see(name) for name in names])
            room, wanted = self._wanted(key, seen) if fresh else (0, [])
        sources, places, count = _arranged(known, fresh)
        kept = torch.tensor(wanted) if wanted else None
        index = references.index
        if known and len(places) > 1:
            index = torch.tensor(places)[index]
        tape = ReferenceTrace(sources, len(fresh), kept, room)
        return Lookup(tape, index, count, fresh, names, kept, seen)

    def keep(
        self,
        recollection: Lookup,
        outputs: Tensor,
        leaves: tuple[Tensor, ...],
        *,
        whole: bool,
    ) -> None:
        """Ends a batch: keeps what was recorded.

        Args:
            recollection: Of the batch.
            outputs: Of the reference rows that were evaluated.
            leaves: What these have where gradients are taken.
            whole: Whether the model was run to its end.

        Raises:
            Disagreement: If the model did less than was recorded.
        """
        tape = recollection.tape
        record = tape.record(outputs, leaves, whole=whole)
        if not recollection.names:
            return
        few = outputs.detach().reshape(len(outputs), -1)[:, :_NUMBERS]
        chosen = [] if recollection.kept is None else recollection.kept.tolist()
        steady = all(_same(recollection.seen[number], few[number]) for number in chosen)
        # Each a copy of its own, or it would hold what the whole batch has given.
        first = [
            (recollection.names[number], few[number].clone())
            for number, before in enumerate(recollection.seen)
            if before is None and not self._at_once
        ]
        if outputs.is_cuda:
            # Another stream may be the first to read it: what was recorded, and what was noted.
            torch.cuda.current_stream(outputs.device).synchronize()
        with self._lock:
            if not steady:
                self._disagree()
                return
            if chosen:
                size = self.most_bytes + 1 if tape.spoilt else tape.row_bytes
                self._remember_size(recollection.names[0][0], size)
            self._note(first)
            if record is not None:
                self._add([recollection.names[number] for number in chosen], record)

    def disagree(self) -> None:
        """The model does not do what was recorded of it: forgets all of it."""
        with self._lock:
            self._disagree()

    def _see(self, name: _Name) -> FirstUse | None:
        """A row has come that is not known; says when it came before."""
        if self._at_once:
            return None
        before = self._sightings.pop(name, None)
        outputs = None if before is None else before.outputs
        self._sightings[name] = FirstUse(self._time, outputs)
        if len(self._sightings) > SIGHTINGS:
            self._sightings.popitem(last=False)
        return before

    def _wanted(self, key: Key, seen: tuple[FirstUse | None, ...]) -> tuple[int, list[int]]:
        """What records may take, and which of the rows that are not known are recorded."""
        if self._at_once:
            again = list(range(len(seen)))
            room = self.most_bytes - self._bytes
        else:
            again = [number for number, each in enumerate(seen) if each is not None]
            since = min((each.time for each in seen if each is not None), default=0)
            room = self.most_bytes - sum(k.nbytes for k in self._records if k.used > since)
        each = self._row_bytes.get(key)
        return room, again if each is None else again[: room // max(each, 1)]

    def _remember_size(self, key: Key, row_bytes: int) -> None:
        if len(self._row_bytes) >= _KINDS:
            self._row_bytes.clear()
        self._row_bytes[key] = row_bytes

    def _note(self, first: Sequence[tuple[_Name, Tensor]]) -> None:
        """Notes some numbers of what was made of rows that have come for the first time."""
        for name, outputs in first:
            sighting = self._sightings.get(name)
            if sighting is not None and sighting.outputs is None:
                self._sightings[name] = FirstUse(sighting.time, outputs)

    def _add(self, names: Sequence[_Name], record: Record) -> None:
        if all(print_ in self._rows.get(key, _NOTHING) for key, print_ in names):
            return  # another thread was faster
        made = _Kept(record, tuple(names), self._time)
        while self._records and not self._at_once and self._bytes + made.nbytes > self.most_bytes:
            self._drop(next(iter(self._records)))
        if self._bytes + made.nbytes > self.most_bytes:
            return
        self._records[made] = None
        self._bytes += made.nbytes
        for row, (key, print_) in enumerate(names):
            self._rows.setdefault(key, {})[print_] = (made, row)
            self._sightings.pop((key, print_), None)

    def _drop(self, kept: _Kept) -> None:
        del self._records[kept]
        self._bytes -= kept.nbytes
        for key, print_ in kept.names:
            rows = self._rows.get(key, _NOTHING)
            if print_ in rows and rows[print_][0] is kept:
                del rows[print_]
                if not rows:
                    del self._rows[key]

    def _disagree(self) -> None:
        self._disagreements += 1
        self._rows.clear()
        self._records.clear()
        self._sightings.clear()
        self._bytes = 0


def _arranged(
    known: dict[_Kept, list[tuple[int, int]]], fresh: list[int]
) -> tuple[list[Source], list[int], int]:
    """The sources of a batch, where each of its reference rows is, and how many rows there are.

    Args:
        known: The numbers of reference rows, and which of a record's rows they are, by record.
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


def _same(before: FirstUse | None, outputs: Tensor) -> bool:
    """Whether outputs are those of another batch but for rounding."""
    if before is None or before.outputs is None:
        return True
    if before.outputs.shape != outputs.shape:
        return False
    if not outputs.is_floating_point():
        return torch.equal(before.outputs, outputs)
    size = before.outputs.abs().amax() if len(outputs) else 0
    rounding = torch.finfo(outputs.dtype).eps ** 0.5 * size
    return bool(((before.outputs - outputs).abs() <= rounding).all())
