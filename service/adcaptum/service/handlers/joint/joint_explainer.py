"""The joint explainer: answers Explain requests that are explained jointly with others."""

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers import responses
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.joint.gatherer import Gatherer
from adcaptum.service.handlers.joint.likeness import likeness
from adcaptum.service.handlers.joint.member import Asked, Seat, Share
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb


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

    async def explain(
        self,
        request: pb.ExplainRequest,
        model: ServedModel,
        question: Question,
        call: Call,
        *,
        key: bytes | None,
        priority: Priority,
        due: float | None,
    ) -> bytes | None:
        """Explains a request jointly with others.

        Args:
            request: The request.
            model: Its model.
            question: Its question.
            call: Its call.
            key: Equal for requests that may share an answer; None: it shares nothing.
            priority: Its class.
            due: When its answer is due, on the monotonic clock; None: when it is ready.

        Returns:
            The answer, serialised; None if the request has to run apart.

        Raises:
            ServiceError: The server cannot serve it.
        """
        if not self._dispatcher.is_light(model):
            return None
        alike = likeness(request, model, question, call.nbytes)
        if alike is None:
            return None
        asked = Asked(
            request, model, question, key, alike, priority, call.caller, call.arrival, call.id
        )
        if not self._gatherer.takes(asked):
            return None
        seat = self._gatherer.enter(asked, due)
        try:
            share = await seat.settled
            return None if share is None else self._answer(seat, share, call)
        finally:
            self._gatherer.leave(seat, call.end_reason)

    def _answer(self, seat: Seat, share: Share, call: Call) -> bytes:
        member, model = seat.member, seat.member.asked.model.name
        key, answer = member.asked.key, member.stored
        if answer is None:
            answer = share.answers.write(share.first, member.examples)
            if key is not None:
                member.stored = answer
                self._answers.put(key, answer)
        else:
            self._metrics.repeated(model, answer)
        queued = responses.queue_seconds(share.work, call)
        self._metrics.answered(model, "Explain", queued, share.work.compute_seconds)
        if seat.joined:
            cache = explanation_pb2.CACHE_STATUS_JOINED
            self._metrics.joined(model)
        elif key is not None:
            cache = explanation_pb2.CACHE_STATUS_MISS
            self._metrics.missed(model)
        else:
            cache = explanation_pb2.CACHE_STATUS_BYPASSED
        return responses.of_call(answer, cache, share.work, call)
