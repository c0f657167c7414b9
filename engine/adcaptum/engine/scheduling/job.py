"""Jobs: the rows of one evaluation of a request, and slices of them."""

from collections.abc import Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from adcaptum.engine.scheduling.request import Request

P = TypeVar("P")


class Job(Generic[P]):
    """One evaluation of a request: rows of one key. Only the scheduler changes it.

    Args:
        key: Jobs of equal keys may share a batch.
        rows: The number of rows, at least one.
        payload: Anything that the evaluation needs; the scheduler does not read it.
        block: Rows are cut at multiples of this number, as far as failures allow: to evaluate a
            part of a block costs as much as all of it. Jobs of equal keys have equal blocks. A
            batch has at least one block, even if that is more than its capacity.
        part: Jobs of one part of their request fail together, and without the other parts.

    Attributes:
        request: Its request, once it was added.
        next_row: The first row that was never put into a batch.
        done_rows: Rows evaluated.
    """

    __slots__ = (
        "added",
        "block",
        "done_rows",
        "key",
        "next_row",
        "part",
        "payload",
        "request",
        "rows",
    )

    request: Request

    def __init__(
        self, key: Hashable, rows: int, payload: P, block: int = 1, part: Hashable = None
    ) -> None:
        if rows < 1:
            raise ValueError(f"a job needs at least one row, not {rows}")
        if block < 1:
            raise ValueError(f"a block has at least one row, not {block}")
        self.key = key
        self.rows = rows
        self.payload = payload
        self.block = block
        self.part = part
        self.added = False
        self.next_row = 0
        self.done_rows = 0

    def __repr__(self) -> str:
        return f"<Job {self.key!r}, {self.done_rows} of {self.rows} rows done>"


class JobSlice(NamedTuple, Generic[P]):
    """The rows start..stop (exclusive) of a job."""

    job: Job[P]
    start: int
    stop: int


def rows_of(slices: list[JobSlice[Any]]) -> int:
    """Returns the number of rows of some slices."""
    return sum([stop - start for _, start, stop in slices])
