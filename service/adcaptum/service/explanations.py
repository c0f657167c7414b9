"""What Predict and Explain do, whatever the protocol."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from adcaptum.engine.attribution import Attribution
from adcaptum.engine.evaluation import Evaluation
from adcaptum.engine.rows import Given
from adcaptum.engine.scheduler import Priority
from adcaptum.service import answers, budgets, inputs, question as questions, tensors
from adcaptum.service.call import Call
from adcaptum.service.catalogue import Catalogue
from adcaptum.service.engines import Engines
from adcaptum.service.errors import DeadlineExceeded, TooBusy
from adcaptum.service.plans import Explanation, Prediction
from adcaptum.service.question import Question
from adcaptum.service.request_metrics import RequestMetrics
from adcaptum.service.served_model import ServedModel
from adcaptum.service.settings import Settings
from adcaptum.service.work import Plan, Work
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb


@dataclass(frozen=True, slots=True, eq=False)
class Explanations:
    """Answers predictions and explanations.

    Attributes:
        catalogue: The models.
        engines: What runs them.
        metrics: What is counted of each answer.
        settings: The limits.
    """

    catalogue: Catalogue
    engines: Engines
    metrics: RequestMetrics
    settings: Settings

    async def predict(self, request: pb.PredictRequest, call: Call) -> pb.PredictResponse:
        """Says what a model answers.

        Raises:
            ServiceError: What the caller did wrong, or the server cannot do.
        """
        model = self.catalogue.find(request.model)
        limit = self.settings.max_image_pixels
        if inputs.is_slow(request.inputs):
            read = await asyncio.to_thread(inputs.read, request.inputs, model.loaded, limit)
        else:
            read = inputs.read(request.inputs, model.loaded, limit)
        plan = Prediction(Evaluation(Given(read.tensors), arguments=read.arguments))
        work = self._work(model, plan, call, read.count, priority=Priority.PREDICT)
        (reading,) = await self._done(work, call)
        outputs = reading.values
        self.metrics.answered(model.name, "Predict", work.queue_seconds, work.compute_seconds)
        return pb.PredictResponse(
            model=model.identity,
            outputs=[tensors.encode(outputs, model.loaded.declaration.outputs[0].name)],
            predictions=answers.predictions(model, outputs, request.top_k),
            timings=_timings(work, call),
            request_id=call.id,
        )

    async def explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        """Says why.

        Raises:
            ServiceError: What the caller did wrong, or the server cannot do.
        """
        model = self.catalogue.find(request.model)
        question = await self._question(request, model)
        partial = budgets.partial(request.budget, stream=False)
        if call.deadline is not None and not partial:
            self._check_time(question, call.deadline)
        plan = Explanation(question)
        work = self._work(model, plan, call, question.inputs.count, partial=partial)
        await self._done(work, call)
        return self._response(question, plan, work, call, "Explain")

    async def explain_stream(
        self, request: pb.ExplainStreamRequest, call: Call
    ) -> AsyncIterator[pb.ExplainStreamResponse]:
        """Says why, and on the way how far it is.

        Raises:
            ServiceError: What the caller did wrong, or the server cannot do.
        """
        explain = request.explain
        model = self.catalogue.find(explain.model)
        question = await self._question(explain, model)
        partial = budgets.partial(explain.budget, stream=True)
        if call.deadline is not None and not partial:
            self._check_time(question, call.deadline)
        plan = Explanation(question)
        news = asyncio.Event()
        ahead = self.engines.of(model).waiting_rows
        rows = sum(question.estimated_rows().values())
        work = self._work(
            model, plan, call, question.inputs.count, partial=partial, progressed=news.set
        )
        work.finished.add_done_callback(lambda _: news.set())
        try:
            yield pb.ExplainStreamResponse(
                accepted=pb.Accepted(request_id=call.id, rows=rows, rows_ahead=ahead)
            )
            while not work.finished.done():
                await news.wait()
                news.clear()
                if not work.finished.done():
                    yield pb.ExplainStreamResponse(partial=_partial(question, plan, work, rows))
            _raise(work)
            final = self._response(question, plan, work, call, "ExplainStream")
            yield pb.ExplainStreamResponse(final=final)
        finally:
            if not work.finished.done():
                self.engines.of(model).cancel(work, _reason(call))

    async def _question(self, request: pb.ExplainRequest, model: ServedModel) -> Question:
        limit = self.settings.max_image_pixels
        if inputs.is_slow(request.inputs):
            return await asyncio.to_thread(questions.read, request, model, limit)
        return questions.read(request, model, limit)

    def _check_time(self, question: Question, deadline: float) -> None:
        """Refuses what cannot be done in time, even if nobody else asked for anything."""
        needed = self.engines.seconds(question.model, question.estimated_rows())
        left = deadline - monotonic()
        # Measured at the start, perhaps on a busy machine: only what is far off is sure.
        if needed > 2 * left:
            raise DeadlineExceeded(
                f"about {needed:.2g} s of computation, and {max(left, 0):.2g} s are left"
            )

    def _work(
        self,
        model: ServedModel,
        plan: Plan,
        call: Call,
        rows: int,
        *,
        priority: Priority = Priority.INTERACTIVE,
        partial: bool = False,
        progressed: Any = None,
    ) -> Work:
        """Submits a work, if there is room and time for it."""
        now = monotonic()
        deadline = call.deadline
        if deadline is not None:
            if deadline <= now:
                raise DeadlineExceeded("the deadline had passed when the request was read")
            if partial:
                # The answer has to travel, and to be made of what is there.
                deadline -= min(0.25, 0.2 * (deadline - call.arrival))
        waiting = self.engines.waiting_rows
        if waiting + rows > self.settings.max_queue_rows:
            raise TooBusy(f"{waiting} rows wait already", retry_s=1.0)
        work = Work(
            model,
            plan,
            finished=asyncio.get_running_loop().create_future(),
            arrival=call.arrival,
            priority=priority,
            deadline=deadline,
            partial=partial,
            progressed=progressed,
        )
        self.engines.of(model).submit(work)
        return work

    async def _done(self, work: Work, call: Call) -> list[Any]:
        """Waits for a work; has it stopped if the caller goes away meanwhile."""
        try:
            await work.finished
        except asyncio.CancelledError:
            self.engines.of(work.model).cancel(work, _reason(call))
            raise
        _raise(work)
        return work.results

    def _response(
        self, question: Question, plan: Explanation, work: Work, call: Call, rpc: str
    ) -> pb.ExplainResponse:
        answered = plan.answered(work.results)
        self.metrics.explained(question, answered)
        self.metrics.answered(question.model.name, rpc, work.queue_seconds, work.compute_seconds)
        declared = question.model.loaded.declaration.inputs
        shown = question.inputs.tensors if question.output.return_inputs else ()
        return pb.ExplainResponse(
            model=question.model.identity,
            explanations=answers.explanations(question, answered),
            reports=answers.reports(question, answered),
            inputs=[
                tensors.encode(values, each.name)
                for each, values in zip(declared, shown, strict=False)
            ],
            seed=question.seed,
            timings=_timings(work, call),
            request_id=call.id,
        )


def _raise(work: Work) -> None:
    if work.error is not None:
        raise work.error


def _reason(call: Call) -> str:
    # The caller's clock may have struck a little before ours.
    late = call.deadline is not None and monotonic() >= call.deadline - 0.05
    return "deadline" if late else "cancelled"


def _timings(work: Work, call: Call) -> explanation_pb2.Timings:
    return explanation_pb2.Timings(
        queue_seconds=work.queue_seconds,
        compute_seconds=work.compute_seconds,
        total_seconds=monotonic() - call.arrival,
        batches=work.batches,
    )


def _partial(question: Question, plan: Explanation, work: Work, rows: int) -> pb.Partial:
    best: list[tuple[Any, Attribution]] = []
    if len(plan.pieces) == len(work.running):
        for piece, running in zip(plan.pieces, list(work.running), strict=False):
            attribution = running.execution.best
            if attribution is not None:
                best.append((piece, attribution))
    return pb.Partial(
        rows_done=work.rows_done,
        rows=max(rows, work.rows_done),
        explanations=answers.explanations(question, best),
    )
