"""Steps of an engine core: the works to begin and to end, and the batch to evaluate."""

from typing import NamedTuple

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.job_payload import JobPayload
from adcaptum.service.runtime.work import Work

EngineBatch = Batch[JobPayload]


class Stop(NamedTuple):
    """The order to end a work before it has its results.

    Attributes:
        work: The work.
        error: The error for its caller.
        waste: The reason of its wasted rows, for the metrics.
    """

    work: Work
    error: Exception
    waste: str


class Step(NamedTuple):
    """The content of one step.

    Attributes:
        arrived: Works to begin.
        stops: Works to end.
        batch: Rows to evaluate.
    """

    arrived: list[Work]
    stops: list[Stop]
    batch: EngineBatch | None


class RunningBatch(NamedTuple):
    """A batch under evaluation.

    Attributes:
        model: The model.
        begin: When it began, on the monotonic clock.
    """

    model: ServedModel
    begin: float
