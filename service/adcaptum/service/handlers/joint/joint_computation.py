"""Joint computations: one work for alike requests, and the cut of its results into their shares."""

from collections.abc import Callable, Sequence
from time import monotonic

from adcaptum.service.errors import ServiceError
from adcaptum.service.handlers.joint.joint_answers import JointAnswers
from adcaptum.service.handlers.joint.member import Member, Share
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.work import Work


class JointComputation:
    """A work that explains the examples of several members.

    For the event loop only.

    Attributes:
        members: The members, in the order of their examples.
        work: The work.
        left: The number of members that nobody waits for any longer.
        begun: When its turn began, on the monotonic clock.
    """

    __slots__ = ("_metrics", "_parsed", "_plan", "begun", "left", "members", "work")

    def __init__(
        self,
        members: Sequence[Member],
        parsed: ParsedRequest,
        plan: ExplanationPlan,
        work: Work,
        metrics: RequestMetrics,
    ) -> None:
        """Makes the computation of a work.

        Args:
            members: The members, in the order of their examples.
            parsed: The request that joins them.
            plan: The stages of its computation.
            work: The work that the engine runs for it.
            metrics: The counters of answers.
        """
        self.members = members
        self.work = work
        self.left = 0
        self.begun = monotonic()
        self._parsed = parsed
        self._plan = plan
        self._metrics = metrics

    @property
    def callers(self) -> set[str]:
        """Those who asked."""
        return {member.request.call.caller for member in self.members}

    def settle(self, apart: Callable[[Member], None]) -> None:
        """Gives each member its share of the results.

        If the work, or one of its methods, has failed, each member runs apart, so that only the
        culprit fails.

        Args:
            apart: Called with each member that has to run apart.
        """
        error = self.work.error
        if isinstance(error, ServiceError) and len(self.members) == 1:
            self.members[0].fail(error)
            return
        outcome = None if error is not None else self._plan.outcome(self.work.results)
        if outcome is None or outcome.failures:
            for member in self.members:
                apart(member)
            return
        answers = JointAnswers(self._parsed, outcome, self._plan.outputs)
        wanted = [member.examples for member in self.members if member.waiters]
        self._metrics.explained_jointly(
            self._parsed,
            outcome,
            [
                [answers.rows(method, count) for count in wanted]
                for method in range(len(self._parsed.methods))
            ],
        )
        first = 0
        for member in self.members:
            member.settle(Share(answers, first, self.work))
            first += member.examples
