"""Predictions and explanations as the protocol asks for them, by calls of our own services."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final, NoReturn, TypeVar

from adcaptum.service.errors import NotFound, Reason, ServiceError
from adcaptum.service.protocols.oip import answers, field_paths
from adcaptum.service.protocols.oip.answers import ExplanationReader
from adcaptum.service.protocols.oip.descriptions import SERVICE, Descriptions
from adcaptum.service.protocols.oip.questions import Question, Questions
from adcaptum.service.protocols.oip.statistics import Statistics
from adcaptum.service.protocols.oip.values.infer_reply import InferReply
from adcaptum.service.protocols.oip.values.infer_request import InferRequest
from adcaptum.service.protocols.oip.values.model_names import ModelName, parsed, reference
from adcaptum.service.rpc import error_answers
from adcaptum.service.rpc.calls import GOOD_ID, ID_KEY
from adcaptum.service.rpc.local.calls import CallFailed, Envelope, LocalCalls
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

LARGE: Final = 1 << 20
"""The smallest answer, in bytes, that is translated in a thread."""

PREDICT: Final = "Predict"
EXPLAIN: Final = "Explain"

Translated = TypeVar("Translated")


@dataclass(frozen=True, slots=True)
class Turn:
    """A request under way.

    Attributes:
        request: The request.
        question: The same in our own form.
        envelope: What comes with it.
        arrival: When it came, on the monotonic clock.
    """

    request: InferRequest
    question: Question
    envelope: Envelope
    arrival: float


class Inference:
    """Predicts and explains.

    All errors are `CallFailed`, in the words of the protocol.
    """

    def __init__(
        self, calls: LocalCalls, descriptions: Descriptions, statistics: Statistics
    ) -> None:
        """Prepares it.

        Args:
            calls: Calls of the server's own services.
            descriptions: What is known of models and methods.
            statistics: Counts requests.
        """
        self._calls = calls
        self._descriptions = descriptions
        self._questions = Questions(descriptions)
        self._statistics = statistics

    async def infer(self, request: InferRequest, envelope: Envelope) -> InferReply:
        """Answers a request once.

        Raises:
            CallFailed: It failed.
        """
        arrival = monotonic()
        try:
            turn = await self._turn(request, envelope, arrival, streamed=False)
            if not turn.question.name.explained_by:
                return await self._predicted(turn)
            path = f"{SERVICE}{EXPLAIN}"
            answer = await self._calls.unary(path, turn.question.raw, turn.envelope)
            found = pb.ExplainResponse.FromString(answer.body)
            return await self._result(turn, ExplanationReader(request), found, len(answer.body))
        except CallFailed as failed:
            raise await self._failed(failed, request, envelope, arrival) from failed

    async def stream(
        self, request: InferRequest, envelope: Envelope
    ) -> AsyncGenerator[InferReply, None]:
        """Answers a request with what is known on the way, and at last with the answer.

        Raises:
            CallFailed: It failed.
        """
        arrival = monotonic()
        try:
            turn = await self._turn(request, envelope, arrival, streamed=True)
            if not turn.question.name.explained_by:
                yield await self._predicted(turn)
                return
            reader = ExplanationReader(request)
            path = f"{SERVICE}ExplainStream"
            events = self._calls.stream(path, turn.question.raw, turn.envelope)
            async with aclosing(events):
                async for raw in events:
                    event = pb.ExplainStreamResponse.FromString(raw)
                    if event.HasField("progress"):
                        reply = await _apart(len(raw), reader.progress, event.progress)
                        if reply is not None:
                            yield reply
                    elif event.HasField("result"):
                        yield await self._result(turn, reader, event.result, len(raw))
        except CallFailed as failed:
            raise await self._failed(failed, request, envelope, arrival) from failed

    async def unread(
        self, error: Exception, request: InferRequest, envelope: Envelope, rpc: str = PREDICT
    ) -> NoReturn:
        """Ends a request that cannot be read.

        Args:
            error: The error.
            request: As much of it as can be read: its model and its id.
            envelope: What comes with it.
            rpc: The method that would have answered it.

        Raises:
            CallFailed: Always.
        """
        try:
            await self.refuse(error, identified(envelope, request.id), rpc)
        except CallFailed as failed:
            raise field_paths.told(failed, request) from failed

    async def refuse(self, error: Exception, envelope: Envelope, rpc: str = PREDICT) -> NoReturn:
        """Ends a request that cannot be translated as one of our own calls with that error.

        So it is counted, logged and told as every error is.

        Args:
            error: The error.
            envelope: What came with the request.
            rpc: The method that would have answered it.

        Raises:
            CallFailed: Always.
        """

        async def receive() -> bytes:
            raise error

        await self._calls.unary(f"{SERVICE}{rpc}", receive, envelope)
        raise error

    async def _turn(
        self, request: InferRequest, envelope: Envelope, arrival: float, *, streamed: bool
    ) -> Turn:
        """Translates a request."""
        envelope = identified(envelope, request.id)
        try:
            question = await self._questions.of(request, envelope, streamed=streamed)
        except CallFailed:
            raise
        except Exception as error:  # noqa: BLE001  # answered as an error of our own calls
            explains = bool(parsed(request.model_name).explained_by)
            return await self.refuse(error, envelope, EXPLAIN if explains else PREDICT)
        return Turn(request, question, due(envelope, question), arrival)

    async def _predicted(self, turn: Turn) -> InferReply:
        answer = await self._calls.unary(f"{SERVICE}{PREDICT}", turn.question.raw, turn.envelope)
        found = pb.PredictResponse.FromString(answer.body)
        try:
            reply = await _apart(len(answer.body), answers.prediction, turn.request, found)
        except ServiceError as error:
            raise _as_failed(error, found.request_id) from error
        self._count(turn, reply, found.timings)
        return reply

    async def _result(
        self, turn: Turn, reader: ExplanationReader, found: pb.ExplainResponse, nbytes: int
    ) -> InferReply:
        try:
            reply = await _apart(nbytes, reader.result, found)
        except ServiceError as error:
            raise _as_failed(error, found.request_id) from error
        self._count(turn, reply, found.timings, found.cache)
        return reply

    def _count(
        self,
        turn: Turn,
        reply: InferReply,
        timings: explanation_pb2.Timings,
        cache: Any = explanation_pb2.CACHE_STATUS_UNSPECIFIED,
    ) -> None:
        shape = turn.request.inputs[0].shape if turn.request.inputs else ()
        self._statistics.succeeded(
            str(turn.question.name),
            reply.model_version,
            seconds=monotonic() - turn.arrival,
            examples=shape[0] if shape else 1,
            timings=timings,
            cache=cache,
        )

    async def _failed(
        self, failed: CallFailed, request: InferRequest, envelope: Envelope, arrival: float
    ) -> CallFailed:
        """Counts a failure; returns it in the words of the protocol."""
        name = parsed(request.model_name)
        explained_by = request.parameters.get("explain")
        if isinstance(explained_by, str) and not name.explained_by:
            name = ModelName(name.model, explained_by)
        version = request.model_version
        self._statistics.failed(str(name), version, monotonic() - arrival)
        if name.explained_by and field_paths.reason(failed) == Reason.PRESET_UNKNOWN:
            failed = await self._unknown(name, version, envelope, failed)
        return field_paths.told(failed, request)

    async def _unknown(
        self, name: ModelName, version: str, envelope: Envelope, failed: CallFailed
    ) -> CallFailed:
        """Returns the error of a virtual model that there is not, with those that there are."""
        try:
            known = await self._descriptions.explained_by(reference(name.model, version), envelope)
        except CallFailed as other:
            return other
        virtual = [str(ModelName(name.model, each)) for each in known]
        error = NotFound("model", str(name), virtual)
        return _as_failed(error, failed.trailing.get(ID_KEY, ""))


def identified(envelope: Envelope, request_id: str) -> Envelope:
    """Returns an envelope with the protocol's id of the request, where it has no other one."""
    has_one = any(key == ID_KEY for key, _ in envelope.metadata)
    if has_one or not GOOD_ID.fullmatch(request_id):
        return envelope
    return replace(envelope, metadata=[*envelope.metadata, (ID_KEY, request_id)])


def due(envelope: Envelope, question: Question) -> Envelope:
    """Returns an envelope with the earlier one of its deadline and the question's."""
    if question.timeout is None:
        return envelope
    deadline = monotonic() + question.timeout
    if envelope.deadline is not None:
        deadline = min(deadline, envelope.deadline)
    return replace(envelope, deadline=deadline)


async def _apart(nbytes: int, translate: Callable[..., Translated], *given: Any) -> Translated:
    """Translates an answer, a large one in a thread."""
    if nbytes < LARGE:
        return translate(*given)
    return await asyncio.to_thread(translate, *given)


def _as_failed(error: ServiceError, request_id: str) -> CallFailed:
    told = error_answers.answer(error, request_id)
    return CallFailed(told.code, told.message, told.details, {ID_KEY: request_id})
