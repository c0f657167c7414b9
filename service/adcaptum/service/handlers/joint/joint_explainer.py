"""The joint explainer: answers Explain requests that are explained jointly with others."""

from collections.abc import Hashable

from adcaptum.service.handlers import admission, responses
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint import likeness
from adcaptum.service.handlers.joint.busy_rule import BusyRule
from adcaptum.service.handlers.joint.explanation_joiner import ExplanationJoiner
from adcaptum.service.handlers.joint.gatherer import Gatherer
from adcaptum.service.handlers.joint.gathering_rule import GatheringRule
from adcaptum.service.handlers.joint.joint_lanes import LoopLane, ThreadLane
from adcaptum.service.handlers.joint.member import Member, Share
from adcaptum.service.handlers.joint.request_templates import RequestTemplates
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.dispatcher import Dispatcher


class JointExplainer:
    """Answers requests that may be joined with others."""

    def __init__(
        self, dispatcher: Dispatcher, metrics: RequestMetrics, answers: ResponseCache
    ) -> None:
        """Prepares it.

        Args:
            dispatcher: Runs the works.
            metrics: The counters of answers.
            answers: Keeps answers.
        """
        self._metrics = metrics
        self._answers = answers
        self._templates = RequestTemplates()
        self._gatherers = tuple(
            (lane, Gatherer(lane, rule, ExplanationJoiner(self._templates, metrics)))
            for lane, rule in (
                (LoopLane(dispatcher), GatheringRule()),
                (ThreadLane(dispatcher), BusyRule()),
            )
        )

    def forget(self, model: ServedModel) -> None:
        """Forgets a model that was taken out of service."""
        self._templates.forget(model)

    async def explain(self, request: IdentifiedRequest) -> bytes | None:
        """Explains a request jointly with others.

        Returns:
            The answer, serialised; None if the request has to run apart.

        Raises:
            ServiceError: The server cannot serve it.
        """
        call = request.call
        if request.partial and call.deadline is not None:
            return None
        alike = likeness.likeness(request.message, request.model, request.question, call.nbytes)
        if alike is None:
            return None
        gatherer = self._gatherer(request, alike)
        if gatherer is None:
            return None
        due = admission.due(call, partial=False)
        member, waiter = gatherer.enter(
            request, alike, likeness.examples(request.message.inputs), due
        )
        try:
            await waiter.end()
            share = member.finished.result()
            if share is None:
                return None
            answer = self._written(member, share)
            return responses.reply(answer, request, share.work, self._metrics, joined=waiter.joined)
        finally:
            gatherer.leave(member, waiter, call.end_reason)

    def _gatherer(
        self, request: IdentifiedRequest, alike: Hashable
    ) -> Gatherer[IdentifiedRequest] | None:
        """Returns the gatherer for a request by its cost; None if it has to run apart."""
        cost = self._templates.cost(request, alike)
        for lane, gatherer in self._gatherers:
            if lane.takes(request.model, cost, members=1):
                return gatherer
        return None

    def _written(self, member: Member[IdentifiedRequest], share: Share) -> bytes:
        """Returns a member's answer, written once for all its calls."""
        if member.stored is not None:
            self._metrics.repeated(member.request.model.name, member.stored)
            return member.stored
        answer = share.answers.write(share.first, member.examples)
        if member.request.key is not None:
            member.stored = answer
            self._answers.put(member.request.key, answer)
        return answer
