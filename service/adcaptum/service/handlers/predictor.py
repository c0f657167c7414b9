"""The predictor: answers Predict, whatever the protocol."""

import asyncio
from dataclasses import dataclass

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers import admission, costs, responses
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.joint.joint_predictor import JointPredictor
from adcaptum.service.handlers.plans import PredictionPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.request_reader import RequestReader
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.questions import output_options
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """The handler of Predict.

    Attributes:
        catalogue: The models.
        dispatcher: Runs the works.
        metrics: The counters of answers.
        reader: Reads requests.
        joint: Answers requests that are answered jointly with others.
    """

    catalogue: Catalogue
    dispatcher: Dispatcher
    metrics: RequestMetrics
    reader: RequestReader
    joint: JointPredictor

    async def predict(self, request: pb.PredictRequest, call: Call) -> bytes:
        """Evaluates a model, and returns the answer, a `PredictResponse`, serialised.

        Raises:
            ServiceError: The request is wrong, or the server cannot serve it.
        """
        model = self.catalogue.find(request.model)
        if request.HasField("max_labels"):
            output_options.check_max_labels(request.max_labels, "max_labels")
        answer = await self.joint.predict(request, model, call)
        if answer is not None:
            return answer
        read = await self.reader.prediction(request, model, call)
        work = self._submit(read, model, call)
        try:
            await work.finished
        except asyncio.CancelledError:
            self.dispatcher.cancel(work, call.end_reason)
            raise
        if work.error is not None:
            raise work.error
        outputs = work.results[0].values
        answer = responses.prediction(model, outputs, request.max_labels, read)
        return responses.predicted(answer, model, work, call, self.metrics)

    def _submit(self, read: Inputs, model: ServedModel, call: Call) -> Work:
        deadline = admission.due(call, partial=False)
        cost = costs.of_prediction(read, model)
        forecast = self.dispatcher.forecast(model, cost, Priority.PREDICT)
        if deadline is not None:
            admission.check_time(cost, forecast, deadline, partial=False)
        work = Work(
            model,
            PredictionPlan(read),
            cost,
            finished=asyncio.get_running_loop().create_future(),
            arrival=call.arrival,
            priority=Priority.PREDICT,
            caller=call.caller or None,
            seconds=forecast.seconds,
            deadline=deadline,
            ids=(call.id,),
        )
        self.dispatcher.submit(work)
        return work
