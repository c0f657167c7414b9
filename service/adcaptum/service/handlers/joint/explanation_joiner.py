"""The joiner of explanations: alike requests, read as one and explained by one work."""

from collections.abc import Sequence

from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint import joint_computation, likeness
from adcaptum.service.handlers.joint.joint_answers import JointAnswers
from adcaptum.service.handlers.joint.joint_computation import JointComputation
from adcaptum.service.handlers.joint.joint_lanes import JointLane
from adcaptum.service.handlers.joint.member import Member
from adcaptum.service.handlers.joint.request_templates import RequestTemplates
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb

Members = Sequence[Member[IdentifiedRequest]]


class JointExplanation(JointComputation[IdentifiedRequest]):
    """A work that explains the examples of several requests."""

    __slots__ = ("_metrics", "_parsed", "_plan")

    def __init__(
        self,
        members: Members,
        work: Work,
        parsed: ParsedRequest,
        plan: ExplanationPlan,
        metrics: RequestMetrics,
    ) -> None:
        """Makes the computation of a work.

        Args:
            members: The members, in the order of their examples.
            work: The work that the engine runs for them.
            parsed: The request that joins them.
            plan: The stages of its computation.
            metrics: The counters of answers.
        """
        super().__init__(members, work)
        self._parsed = parsed
        self._plan = plan
        self._metrics = metrics

    def answers(self) -> JointAnswers | None:
        """Returns the answers of all members; None if one of the methods has failed."""
        outcome = self._plan.outcome(self.work.results)
        if outcome.failures:
            return None
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
        return answers


class ExplanationJoiner:
    """The joiner of explanations."""

    def __init__(self, templates: RequestTemplates, metrics: RequestMetrics) -> None:
        """Prepares it.

        Args:
            templates: What requests ask beside their inputs.
            metrics: The counters of answers.
        """
        self._templates = templates
        self._metrics = metrics

    def join(self, members: Members, lane: JointLane) -> JointExplanation | None:
        """Starts the work of alike requests; None if it is too much for one.

        Args:
            members: The requests.
            lane: The place where it runs.

        Raises:
            Exception: One of them is wrong, or the server cannot serve all of them.
        """
        first = members[0].request
        inputs = [member.request.message.inputs for member in members]
        message = first.message
        if len(members) > 1:
            message = pb.ExplainRequest(inputs=likeness.joined_inputs(inputs))
        question = likeness.joined_question(
            [member.request.question for member in members],
            [member.examples for member in members],
        )
        parsed, cost = self._templates.read(
            message, first, members[0].alike, question, len(members)
        )
        callers = len({member.request.call.caller for member in members})
        if not lane.takes(first.model, cost, members=len(members), callers=callers):
            return None
        if _may_be_cut(parsed, cost, members):
            return None
        plan = ExplanationPlan(parsed)
        work = joint_computation.start(members, first.model, plan, cost, lane)
        return JointExplanation(members, work, parsed, plan, self._metrics)


def _may_be_cut(parsed: ParsedRequest, cost: Cost, members: Members) -> bool:
    """Returns whether a member's rows may exceed its own budget, which would cut it short."""
    largest = max([member.examples for member in members])
    planned = sum(cost.planned_rows.values()) * largest / parsed.inputs.count
    return 2 * planned > parsed.budget.max_rows / len(members)
