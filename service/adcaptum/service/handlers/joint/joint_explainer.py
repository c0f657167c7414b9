"""The joint explainer: answers Explain requests that are explained jointly with others."""

from adcaptum.service.handlers import admission, responses
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint.gatherer import Gatherer
from adcaptum.service.handlers.joint.likeness import likeness
from adcaptum.service.handlers.joint.member import Member, Share
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.runtime.dispatcher import Dispatcher


class JointExplainer:
    """Answers requests for light models that may be joined with others."""

    def __init__(
        self, dispatcher: Dispatcher, metrics: RequestMetrics, answers: ResponseCache
    ) -> None:
        """Prepares it.

        Args:
            dispatcher: Runs the works.
            metrics: The counters of answers.
            answers: Keeps answers.
        """
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._answers = answers
        self._gatherer = Gatherer(dispatcher, metrics)

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
        if not self._dispatcher.is_light(request.model):
            return None
        alike = likeness(request.message, request.model, request.question, call.nbytes)
        if alike is None or not self._gatherer.takes(request, alike):
            return None
        due = admission.due(call, partial=False)
        member, waiter = self._gatherer.enter(request, alike, due)
        try:
            await waiter.end()
            share = member.finished.result()
            if share is None:
                return None
            answer = self._written(member, share)
            return responses.reply(answer, request, share.work, self._metrics, joined=waiter.joined)
        finally:
            self._gatherer.leave(member, waiter, call.end_reason)

    def _written(self, member: Member, share: Share) -> bytes:
        """Returns a member's answer, written once for all its calls."""
        if member.stored is not None:
            self._metrics.repeated(member.request.model.name, member.stored)
            return member.stored
        answer = share.answers.write(share.first, member.examples)
        if member.request.key is not None:
            member.stored = answer
            self._answers.put(member.request.key, answer)
        return answer
