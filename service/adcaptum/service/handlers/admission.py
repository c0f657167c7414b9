"""Admission: the class of a request, when its answer is due, and whether there is time for it."""

from time import monotonic
from typing import Final

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import DeadlineExceeded, InvalidRequest, TooLate
from adcaptum.service.handlers.call import Call
from adcaptum.service.runtime.cost import Cost, Forecast
from adcaptum.v1 import explanation_service_pb2 as pb

SURE: Final = 2.0
"""The multiple of the time left from which on a request is refused. The times of rows are learnt,
perhaps on a busy machine, so that smaller multiples may be wrong."""

ANSWER_SECONDS: Final = 0.1
"""The most time that is kept for writing and sending a partial answer."""

ANSWER_SHARE: Final = 0.3
"""The same, as a share of the time from arrival to deadline."""

CACHES: Final = frozenset(pb.CachePolicy.values())
"""The known uses of the cache."""

PRIORITIES: Final = {
    pb.PRIORITY_UNSPECIFIED: Priority.INTERACTIVE,
    pb.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    pb.PRIORITY_BATCH: Priority.BATCH,
}


def priority(request: pb.ExplainRequest) -> Priority:
    """Reads the class of a request.

    Raises:
        InvalidRequest: There is no such class.
    """
    found = PRIORITIES.get(request.priority)
    if found is None:
        raise InvalidRequest("priority", f"{request.priority}; must be INTERACTIVE or BATCH")
    return found


def shares(request: pb.ExplainRequest) -> bool:
    """Reads whether the answer may be that of another request.

    Raises:
        InvalidRequest: There is no such use of the cache.
    """
    if request.cache not in CACHES:
        raise InvalidRequest("cache", f"{request.cache}; must be USE or BYPASS")
    return request.cache != pb.CACHE_POLICY_BYPASS


def due(call: Call, *, partial: bool) -> float | None:
    """Returns when an answer is due, on the monotonic clock; None: when it is ready.

    Args:
        call: The call.
        partial: Whether the best answer so far is sent then, which takes time itself.

    Raises:
        DeadlineExceeded: The deadline has passed.
    """
    deadline = call.deadline
    if deadline is None:
        return None
    if deadline <= monotonic():
        raise DeadlineExceeded("the deadline had passed when the request was read")
    if partial:
        deadline -= min(ANSWER_SECONDS, ANSWER_SHARE * (deadline - call.arrival))
    return deadline


def check_time(cost: Cost, forecast: Forecast, deadline: float, *, partial: bool) -> None:
    """Refuses a request that cannot be answered in time.

    Args:
        cost: Its cost.
        forecast: The time that it is expected to take.
        deadline: When the answer is due, on the monotonic clock.
        partial: Whether the first estimate is an answer.

    Raises:
        TooLate: Even the first estimate takes far longer than the time left.
    """
    own = forecast.first_seconds if partial else forecast.seconds
    wait = forecast.wait(own)
    left = max(0.0, deadline - monotonic())
    if own + wait > SURE * left:
        purpose = "for a first estimate" if partial else f"for {cost.total_rows} rows"
        raise TooLate(
            f"about {own:.2g} s of computation {purpose}, and {wait:.2g} s among other requests; "
            f"{left:.2g} s are left",
            needed_s=own + wait,
        )
