"""Job payloads: the rows of a work's evaluations, as the scheduler carries them."""

from collections.abc import Callable, Hashable, Iterable, Sequence

from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.vocabulary.evaluation import Key
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.work import RunningFlow, Work


class JobPayload:
    """The rows of one evaluation of a flow.

    Attributes:
        flow: The flow that yielded the evaluation.
        pending: The evaluation.
    """

    __slots__ = ("flow", "pending")

    def __init__(self, flow: RunningFlow, pending: Pending) -> None:
        self.flow = flow
        self.pending = pending

    @property
    def work(self) -> Work:
        """The work that the rows belong to."""
        return self.flow.work

    def slice(self, start: int, stop: int) -> RowRange:
        """Returns rows start..stop of the evaluation."""
        return RowRange(self.pending.evaluation, start, stop)

    def add(self, start: int, stop: int, part: Part) -> None:
        """Adds a batch's results of rows start..stop, unless the work or the flow has ended."""
        if not self.work.ended and self.flow.error is None:
            self.pending.add(start, stop, part)
            self.work.rows_done += stop - start

    def add_or_fail(
        self, start: int, stop: int, part: Part, fail: Callable[[RunningFlow, Exception], None]
    ) -> None:
        """Adds results under the work's lock; memory may not suffice for all of them.

        Args:
            start: The first row.
            stop: The row after the last.
            part: Their results.
            fail: Fails the flow with the error, without the lock.
        """
        try:
            with self.work.lock:
                self.add(start, stop, part)
        except Exception as error:  # noqa: BLE001  # it is the request's answer
            fail(self.flow, error)


EngineJob = Job[JobPayload]
EngineKey = tuple[ServedModel, Key]
"""The key of a job: the model, and the engine's key of the evaluation."""


def jobs_of(flow: RunningFlow) -> list[EngineJob]:
    """Returns the jobs of a flow's round."""
    model = flow.work.model
    return [
        Job(
            (model, pending.evaluation.key),
            pending.rows,
            JobPayload(flow, pending),
            pending.evaluation.forward_rows or 1,
            flow.part,
        )
        for pending in flow.waiting
    ]


def by_key(jobs: Sequence[EngineJob]) -> Iterable[list[EngineJob]]:
    """Divides jobs by their keys."""
    if len(jobs) == 1:
        return ([jobs[0]],)
    groups: dict[Hashable, list[EngineJob]] = {}
    for job in jobs:
        groups.setdefault(job.key, []).append(job)
    return groups.values()
