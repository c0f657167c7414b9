"""Identified requests: Explain requests whose question is known, and whose inputs are not read."""

from dataclasses import dataclass

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers.call import Call
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.question import Question
from adcaptum.v1 import explanation_service_pb2 as pb


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedRequest:
    """A request whose model, question and key are known; its inputs are not read yet.

    Attributes:
        message: The request.
        model: The model that it names.
        question: Its question, resolved.
        key: Equal for requests that may share an answer; None: it shares nothing.
        call: Its call.
        priority: Its class.
        partial: True if the best answer so far will do at the deadline.
        stream: True if it wants progress.
    """

    message: pb.ExplainRequest
    model: ServedModel
    question: Question
    key: bytes | None
    call: Call
    priority: Priority
    partial: bool = False
    stream: bool = False
