"""What Predict and Explain do, whatever the protocol."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import NamedTuple

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.service.errors import DeadlineExceeded
from adcaptum.service.handlers import admission
from adcaptum.service.handlers.admission import Cost
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.plans import Explanation, Prediction
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.shared_computation import (
    Answered,
    SharedComputation,
    SharedComputations,
    Terms,
    Waiter,
)
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.models.output_cache import OutputCache
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import answers, budgets, inputs, parsed_request as questions
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.request_key import request_key
from adcaptum.service.runtime.dispatcher import Ahead, Dispatcher
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.row_lookup import RowLookup
from adcaptum.service.runtime.work import Work
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

NOTHING_AHEAD = Ahead(0, 0, 0.0)


class Boarded(NamedTuple):
    """A request that waits for its answer.

    Attributes:
        waiter: How it waits.
        cost: What it takes; None if it joined another.
        ahead: What was under way before it.
    """

    waiter: Waiter
    cost: Cost | None
    ahead: Ahead


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """Answers predictions and explanations.

    Attributes:
        catalogue: The models.
        engines: What runs them.
        metrics: What is counted of each answer.
        flights: The answers that requests may share.
        max_image_pixels: The largest image that is decoded.
    """

    catalogue: Catalogue
    engines: Dispatcher
    metrics: RequestMetrics
    flights: SharedComputations
    max_image_pixels: int

    async def predict(self, request: pb.PredictRequest, call: Call) -> pb.PredictResponse:
        """Says what a model answers.

        Raises:
            ServiceError: What the caller did wrong, or the server cannot do.
        """
        model = self.catalogue.find(request.model)
        limit = self.max_image_pixels
        if inputs.is_slow(request.inputs):
            read = await asyncio.to_thread(inputs.read, request.inputs, model.loaded, limit)
        else:
            read = inputs.read(request.inputs, model.loaded, limit)
        deadline = admission.due(call, partial=False)
        cost = Cost.of_prediction(read, model, self.engines)
        if deadline is not None:
            ahead = self.engines.ahead(cost.engine, Priority.PREDICT)
            admission.check_time(cost, ahead, deadline, partial=False)
        work = Work(
            model,
            Prediction(Evaluation(Given(read.tensors), arguments=read.arguments)),
            finished=asyncio.get_running_loop().create_future(),
            arrival=call.arrival,
            priority=Priority.PREDICT,
            caller=call.caller or None,
            rows=cost.rows,
            seconds=cost.seconds,
            nbytes=cost.nbytes,
            deadline=deadline,
        )
        self.engines.submit(work, cost.engine)
        try:
            await work.finished
        except asyncio.CancelledError:
            cost.engine.cancel(work, _reason(call))
            raise
        if work.error is not None:
            raise work.error
        outputs = work.results[0].values
        self.metrics.answered(model.name, "Predict", _queued(work, call), work.compute_seconds)
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
        key = self._key(request, model)
        if (kept := self._kept(key, model, call)) is not None:
            return kept
        waiter = (await self._board(request, model, key, call, stream=False)).waiter
        try:
            await waiter.end()
            return self._answer(waiter, key, call, "Explain")
        finally:
            waiter.leave(_reason(call))

    async def explain_stream(
        self, request: pb.ExplainStreamRequest, call: Call
    ) -> AsyncIterator[pb.ExplainStreamResponse]:
        """Says why, and on the way how far it is.

        Raises:
            ServiceError: What the caller did wrong, or the server cannot do.
        """
        explain = request.explain
        model = self.catalogue.find(explain.model)
        key = self._key(explain, model)
        if (kept := self._kept(key, model, call)) is not None:
            yield pb.ExplainStreamResponse(accepted=pb.Accepted(request_id=call.id))
            yield pb.ExplainStreamResponse(final=kept)
            return
        boarded = await self._board(explain, model, key, call, stream=True)
        waiter = boarded.waiter
        try:
            yield pb.ExplainStreamResponse(accepted=_accepted(boarded, call))
            while not waiter.over:
                await waiter.news.wait()
                waiter.news.clear()
                if not waiter.over:
                    so_far = waiter.flight.partial(answers.explanations)
                    yield pb.ExplainStreamResponse(partial=so_far)
            final = self._answer(waiter, key, call, "ExplainStream")
            yield pb.ExplainStreamResponse(final=final)
        finally:
            waiter.leave(_reason(call))

    def _key(self, request: pb.ExplainRequest, model: ServedModel) -> bytes | None:
        """Returns what equal requests have in common; None for those that share nothing."""
        if request.cache == explanation_pb2.CACHE_BYPASS:
            return None
        return request_key(request, model.identity, questions.read_methods(request, model))

    def _kept(self, key: bytes | None, model: ServedModel, call: Call) -> pb.ExplainResponse | None:
        """Returns an answer that was kept."""
        stored = None if key is None else self.flights.cache.get(key)
        if stored is None:
            return None
        response = pb.ExplainResponse.FromString(stored)
        self.metrics.hit(model.name)
        self.metrics.repeated(model.name, response)
        response.cache = explanation_pb2.CACHE_STATUS_HIT
        response.timings.total_seconds = monotonic() - call.arrival
        response.request_id = call.id
        return response

    async def _board(
        self,
        request: pb.ExplainRequest,
        model: ServedModel,
        key: bytes | None,
        call: Call,
        *,
        stream: bool,
    ) -> Boarded:
        """Joins a flight that is about the same, or has a new one take off."""
        may_be_partial = budgets.partial(request.budget, stream=stream)
        due = admission.due(call, partial=may_be_partial)
        terms = Terms(admission.priority(request), due, may_be_partial, stream)
        if (flight := self.flights.find(key, terms.priority)) is None:
            question = await self._question(request, model)
            # Somebody who asks the same may have been faster meanwhile.
            if (flight := self.flights.find(key, terms.priority)) is None:
                return self._take_off(question, terms, key, call)
        return Boarded(flight.join(terms), None, NOTHING_AHEAD)

    def _take_off(
        self, question: ParsedRequest, terms: Terms, key: bytes | None, call: Call
    ) -> Boarded:
        """Has the engine begin, if there is time and room."""
        cost, ahead = Cost.of_explanation(question, self.engines), NOTHING_AHEAD
        if terms.due is not None or terms.stream:
            ahead = self.engines.ahead(cost.engine, terms.priority)
        if terms.due is not None:
            admission.check_time(cost, ahead, terms.due, partial=terms.partial)
        plan = Explanation(question)
        work = Work(
            question.model,
            plan,
            finished=asyncio.get_running_loop().create_future(),
            arrival=call.arrival,
            priority=terms.priority,
            caller=call.caller or None,
            rows=cost.rows,
            seconds=cost.seconds,
            nbytes=cost.nbytes,
            deadline=terms.due,
            expires=False,
            deterministic=question.deterministic,
            recall=self._recall(question, cost.engine, shared=key is not None),
        )
        flight = SharedComputation(
            question,
            plan,
            work,
            cost.rows,
            stop=cost.engine.cancel,
            ended=partial(self.flights.remove, key),
        )
        self.engines.submit(work, cost.engine)
        self.flights.add(key, flight)
        return Boarded(flight.join(terms, joined=False), cost, ahead)

    def _recall(
        self, question: ParsedRequest, engine: EngineRunner, *, shared: bool
    ) -> RowLookup | None:
        """What finds the rows that others have asked for, or this request's other methods."""
        if not shared and len(question.methods) == 1:
            return None
        model = question.model
        known = model.known if shared else OutputCache()
        return RowLookup(model, known, self.engines.row_seconds(engine, model))

    async def _question(self, request: pb.ExplainRequest, model: ServedModel) -> ParsedRequest:
        limit = self.max_image_pixels
        if inputs.is_slow(request.inputs):
            return await asyncio.to_thread(questions.read, request, model, limit)
        return questions.read(request, model, limit)

    def _answer(
        self, waiter: Waiter, key: bytes | None, call: Call, rpc: str
    ) -> pb.ExplainResponse:
        """Writes the answer of a flight that has ended, or the best one so far."""
        flight, work = waiter.flight, waiter.flight.work
        if not work.finished.done():
            answered = flight.best() if waiter.terms.partial else None
            if answered is None:
                raise DeadlineExceeded("the deadline came before the answer")
            response = self._write(flight, answered)
        elif work.error is not None:
            raise work.error
        elif flight.stored is None:
            answered = flight.plan.answered(work.results)
            admission.learn(flight.question, answered)
            response = self._write(flight, answered)
            if key is not None:
                flight.stored = response.SerializeToString()
                self.flights.cache.put(key, flight.stored)
        else:
            response = pb.ExplainResponse.FromString(flight.stored)
            self.metrics.repeated(flight.question.model.name, response)
        model = flight.question.model.name
        self.metrics.answered(model, rpc, _queued(work, call), work.compute_seconds)
        if waiter.joined:
            response.cache = explanation_pb2.CACHE_STATUS_JOINED
            self.metrics.joined(model)
        elif key is not None:
            response.cache = explanation_pb2.CACHE_STATUS_MISS
            self.metrics.missed(model)
        response.timings.CopyFrom(_timings(work, call))
        response.request_id = call.id
        return response

    def _write(self, flight: SharedComputation, answered: Answered) -> pb.ExplainResponse:
        question = flight.question
        self.metrics.explained(question, answered)
        predictions, outputs = answers.told_outputs(question, flight.outputs)
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
            predictions=predictions,
            outputs=outputs,
        )


def _accepted(boarded: Boarded, call: Call) -> pb.Accepted:
    ahead, cost, flight = boarded.ahead, boarded.cost, boarded.waiter.flight
    return pb.Accepted(
        request_id=call.id,
        rows=flight.rows,
        rows_ahead=ahead.rows,
        position=ahead.requests,
        seconds=0.0 if cost is None else sum(cost.among(ahead)),
    )


def _reason(call: Call) -> str:
    # The caller's clock may have struck a little before ours.
    late = call.deadline is not None and monotonic() > call.deadline - 0.05
    return "deadline" if late else "cancelled"


def _queued(work: Work, call: Call) -> float:
    """How long a request waited for the first batch, which may have been before it came."""
    return max(0.0, work.queue_seconds - (call.arrival - work.arrival))


def _timings(work: Work, call: Call) -> explanation_pb2.Timings:
    return explanation_pb2.Timings(
        queue_seconds=_queued(work, call),
        compute_seconds=work.compute_seconds,
        total_seconds=monotonic() - call.arrival,
        batches=work.batches,
    )
