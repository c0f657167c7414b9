"""The joint predictor: evaluates light models for the Predict requests that come together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers import admission, costs, responses
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.joint import joint_computation, likeness
from adcaptum.service.handlers.joint.gatherer import Gatherer
from adcaptum.service.handlers.joint.gathering_rule import GatheringRule
from adcaptum.service.handlers.joint.joint_computation import JointComputation
from adcaptum.service.handlers.joint.joint_lanes import JointLane, LoopLane
from adcaptum.service.handlers.joint.member import Member
from adcaptum.service.handlers.plans import PredictionPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import inputs as request_inputs
from adcaptum.service.requests.reading import Reading
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.v1 import explanation_service_pb2 as pb

PLAIN: Final = Reading(0)
"""The bounds of reading plain numbers, which takes microseconds: no deadline, no images."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedPrediction:
    """A request for predictions; its inputs are not read yet.

    Attributes:
        message: The request.
        model: The model that it names.
        call: Its call.
    """

    message: pb.PredictRequest
    model: ServedModel
    call: Call

    @property
    def key(self) -> bytes | None:
        """None: predictions are not shared."""
        return None

    @property
    def priority(self) -> Priority:
        """The first class."""
        return Priority.PREDICT


class PredictionAnswers:
    """The answers of the members of a joint prediction."""

    __slots__ = ("_asked", "_outputs")

    def __init__(self, asked: AskedPrediction, outputs: Tensor) -> None:
        """Keeps what the answers are made of.

        Args:
            asked: One of the requests.
            outputs: The model's outputs for all examples.
        """
        self._asked = asked
        self._outputs = outputs

    def write(self, first: int, count: int) -> bytes:
        """Returns the answer of a member, serialised, without what each call has of its own."""
        outputs, asked = self._outputs[first : first + count], self._asked
        return responses.prediction(asked.model, outputs, asked.message.max_labels)


class JointPrediction(JointComputation[AskedPrediction]):
    """A work that evaluates the examples of several requests."""

    __slots__ = ()

    def answers(self) -> PredictionAnswers:
        """Returns the answers of all members."""
        return PredictionAnswers(self.members[0].request, self.work.results[0].values)


class PredictionJoiner:
    """The joiner of predictions."""

    def join(
        self, members: Sequence[Member[AskedPrediction]], lane: JointLane
    ) -> JointPrediction | None:
        """Starts the work of alike requests; None if it is too much for one.

        Args:
            members: The requests.
            lane: The place where it runs.

        Raises:
            Exception: One of them is wrong, or the server cannot serve all of them.
        """
        model = members[0].request.model
        joined = likeness.joined_inputs([member.request.message.inputs for member in members])
        read = request_inputs.read(joined, model.loaded, PLAIN)
        cost = costs.of_prediction(read, model)
        if not lane.takes(model, cost, members=len(members)):
            return None
        work = joint_computation.start(members, model, PredictionPlan(read), cost, lane)
        return JointPrediction(members, work)


class JointPredictor:
    """Answers predictions that may be joined with others."""

    def __init__(self, dispatcher: Dispatcher, metrics: RequestMetrics) -> None:
        """Prepares it.

        Args:
            dispatcher: Runs the works.
            metrics: The counters of answers.
        """
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._gatherer = Gatherer(LoopLane(dispatcher), GatheringRule(), PredictionJoiner())

    async def predict(
        self, request: pb.PredictRequest, model: ServedModel, call: Call
    ) -> bytes | None:
        """Evaluates a model for a request jointly with others.

        Returns:
            The answer, serialised; None if the request has to run apart.

        Raises:
            ServiceError: The server cannot serve it.
        """
        if not self._dispatcher.is_light(model):
            return None
        shapes = likeness.input_shapes(request.inputs, model, call.nbytes)
        if shapes is None:
            return None
        alike = model, shapes, request.max_labels
        due = admission.due(call, partial=False)
        member, waiter = self._gatherer.enter(
            AskedPrediction(request, model, call), alike, likeness.examples(request.inputs), due
        )
        try:
            await waiter.end()
            share = member.finished.result()
            if share is None:
                return None
            answer = share.answers.write(share.first, member.examples)
            return responses.predicted(answer, model, share.work, call, self._metrics)
        finally:
            self._gatherer.leave(member, waiter, call.end_reason)
