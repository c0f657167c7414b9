"""Batches that the scheduler gives out, and their results."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from adcaptum.engine.scheduling.job import Job, JobSlice
from adcaptum.engine.scheduling.request import Request

P = TypeVar("P")


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[P]):
    """Rows to be evaluated together.

    Attributes:
        sequence: Its number; later batches have larger ones.
        key: The key of all its jobs.
        slices: Its rows, in the order in which they stand in the batch.
        rows: The number of rows.
        capacity: The most rows that it could have had.
        isolated: Whether it runs again after an error, without rows that were not in it.
    """

    sequence: int
    key: Hashable
    slices: Sequence[JobSlice[P]]
    rows: int
    capacity: int
    isolated: bool

    @property
    def requests(self) -> list[Request]:
        """The requests that have rows in it, each once."""
        return list(dict.fromkeys(piece.job.request for piece in self.slices))

    @property
    def parts(self) -> list[tuple[Request, Hashable]]:
        """The parts of requests that have rows in it, each once."""
        return list(dict.fromkeys((piece.job.request, piece.job.part) for piece in self.slices))


class Update(NamedTuple, Generic[P]):
    """The effects of an evaluated batch.

    Attributes:
        finished: The jobs that it completed, in the order of the batch.
        wasted: The slices of requests that were cancelled meanwhile.
    """

    finished: list[Job[P]]
    wasted: list[JobSlice[P]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the scheduler was made; those of rows add up by its rule 7.

    Attributes:
        requests: Requests with rows waiting or running.
        waiting_rows: Rows not in a batch.
        running_rows: Rows in running batches, those of cancelled requests included.
        running_batches: Batches given out and not ended.
        added_rows: Rows of all jobs ever added.
        evaluated_rows: Rows evaluated for requests that were not cancelled.
        wasted_rows: Rows that were in a running batch when their request was cancelled.
        dropped_rows: Rows that were never evaluated, because of a cancellation or an error.
        batches: Batches given out.
    """

    requests: int
    waiting_rows: int
    running_rows: int
    running_batches: int
    added_rows: int
    evaluated_rows: int
    wasted_rows: int
    dropped_rows: int
    batches: int
