"""What the scheduler gives out, and what comes of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from adcaptum.engine.scheduling.requests import Job, JobSlice, Request

P = TypeVar("P")


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[P]):
    """Rows to be evaluated together.

    Attributes:
        sequence: Its number; later batches have larger ones.
        key: The key of all its jobs.
        slices: Which rows, in the order in which they stand in the batch.
        rows: How many there are.
        capacity: How many there could have been.
        isolated: Whether it runs again, without rows that were not in it, after an error.
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


class Update(NamedTuple, Generic[P]):
    """What an evaluated batch came to.

    Attributes:
        finished: The jobs whose last row it was, in the order of the batch.
        wasted: The slices of requests that were cancelled meanwhile; nobody wants their results.
    """

    finished: list[Job[P]]
    wasted: list[JobSlice[P]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the scheduler was made; those of rows add up by rule 7.

    Attributes:
        requests: Requests with rows waiting or running.
        waiting_rows: Rows not in a batch.
        running_rows: Rows in running batches, those of cancelled requests included.
        running_batches: Batches given out and not ended.
        added_rows: Rows of all jobs ever added.
        evaluated_rows: Rows evaluated for requests that still wanted them.
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
