"""Joint computations: one work for alike requests, and the cut of its results into their shares."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Generic

from adcaptum.service.errors import ServiceError, Unavailable
from adcaptum.service.handlers import admission
from adcaptum.service.handlers.joint.joint_lanes import JointLane
from adcaptum.service.handlers.joint.member import Member, MemberAnswers, R, Share
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.planned_flow import Plan
from adcaptum.service.runtime.work import Work


class JointComputation(ABC, Generic[R]):
    """A work that evaluates the examples of several members; subclasses write its answers.

    For the event loop only.

    Attributes:
        members: The members, in the order of their examples.
        work: The work.
        left: The number of members that nobody waits for any longer.
        begun: When its turn began, on the monotonic clock.
    """

    __slots__ = ("begun", "left", "members", "work")

    def __init__(self, members: Sequence[Member[R]], work: Work) -> None:
        """Makes the computation of a work.

        Args:
            members: The members, in the order of their examples.
            work: The work that the engine runs for them.
        """
        self.members = members
        self.work = work
        self.left = 0
        self.begun = monotonic()

    @property
    def askers(self) -> set[Hashable]:
        """The callers of its members, each with its class."""
        return {(each.request.call.caller, each.request.priority) for each in self.members}

    def settle(self, apart: Callable[[Member[R]], None]) -> None:
        """Gives each member its share of the results.

        If the work, or a part of it, has failed, each member runs apart, so that only the culprit
        fails; unless the server, or the model, answers nobody any longer.

        Args:
            apart: Called with each member that has to run apart.
        """
        error = self.work.error
        alone = isinstance(error, ServiceError) and len(self.members) == 1
        if error is not None and (alone or isinstance(error, Unavailable)):
            for member in self.members:
                member.fail(error)
            return
        answers = None if error is not None else self.answers()
        first = 0
        for member in self.members:
            if answers is None:
                apart(member)
            else:
                member.settle(Share(answers, first, self.work))
            first += member.examples

    @abstractmethod
    def answers(self) -> MemberAnswers | None:
        """Returns the answers of all members; None if a part of the work has failed."""


def start(
    members: Sequence[Member[R]], model: ServedModel, plan: Plan, cost: Cost, lane: JointLane
) -> Work:
    """Starts the work of some members.

    Args:
        members: The members.
        model: The model that it evaluates.
        plan: The stages of its computation.
        cost: Its cost.
        lane: The place where it runs.

    Raises:
        ServiceError: There is no time, or no room, for all of them.
    """
    calls = [member.request.call for member in members]
    first = members[0].request
    forecast = lane.forecast(model, cost, first.priority)
    waiters = [waiter for member in members for waiter in member.waiters]
    dues = [waiter.terms.due for waiter in waiters if waiter.terms.due is not None]
    if dues:
        admission.check_time(cost, forecast, min(dues), partial=False)
    callers = dict[Hashable, int](Counter([call.caller for call in calls]))
    work = Work(
        model,
        plan,
        cost,
        finished=asyncio.get_running_loop().create_future(),
        arrival=min([call.arrival for call in calls]),
        priority=first.priority,
        caller=(first.call.caller or None) if len(callers) == 1 else None,
        seconds=forecast.seconds,
        deadline=min(dues, default=None),
        expires=False,
        members=len(members),
        ids=tuple([call.id for call in calls]),
    )
    lane.submit(work, callers)
    return work
