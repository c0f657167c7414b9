"""The explainer: answers Explain and ExplainStream, whatever the protocol.

A request is answered from the cache, joins an identical computation that is running, or starts one.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from time import monotonic

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import DeadlineExceeded
from adcaptum.service.handlers import admission, costs, responses
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.joint.joint_explainer import JointExplainer
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.request_reader import RequestReader
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.handlers.shared_computation import PieceAttributions, SharedComputation
from adcaptum.service.handlers.shared_computations import SharedComputations
from adcaptum.service.handlers.waiter import Terms, Waiter
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import budgets, parsed_request
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Forecast
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.work import Work
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class _IdentifiedRequest:
    """A request whose model, methods and key are known; its inputs are not read yet.

    Attributes:
        message: The request.
        model: The model that it names.
        methods: Its methods.
        key: Equal for requests that may share an answer; None: it shares nothing.
        call: Its call.
        priority: Its class.
        partial: True if the best answer so far will do at the deadline.
        stream: True if it wants progress.
    """

    message: pb.ExplainRequest
    model: ServedModel
    methods: tuple[ResolvedMethod, ...]
    key: bytes | None
    call: Call
    priority: Priority
    partial: bool
    stream: bool


@dataclass(frozen=True, slots=True, eq=False)
class Explainer:
    """The handler of Explain and ExplainStream.

    Attributes:
        catalogue: The models.
        dispatcher: Runs the works.
        metrics: The counters of answers.
        cache: The answers that are kept.
        computations: The computations that requests may join.
        reader: Reads requests.
        joint: Answers requests that are explained jointly with others.
    """

    catalogue: Catalogue
    dispatcher: Dispatcher
    metrics: RequestMetrics
    cache: ResponseCache
    computations: SharedComputations
    reader: RequestReader
    joint: JointExplainer

    async def explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        """Explains, and answers at the end.

        Raises:
            ServiceError: The request is wrong, or the server cannot serve it.
        """
        identified = await self._identify(request, call, stream=False)
        if (kept := self._kept(identified)) is not None:
            return kept
        if (answer := await self._jointly(identified)) is not None:
            return answer
        computation, waiter, _ = await self._join_or_start(identified)
        try:
            await waiter.end()
            return await self._answer(identified, computation, waiter, "Explain")
        finally:
            computation.leave(waiter, call.end_reason)

    async def explain_stream(
        self, request: pb.ExplainStreamRequest, call: Call
    ) -> AsyncIterator[pb.ExplainStreamResponse]:
        """Explains, and reports progress on the way.

        Raises:
            ServiceError: The request is wrong, or the server cannot serve it.
        """
        identified = await self._identify(request.explain, call, stream=True)
        if (kept := self._kept(identified)) is not None:
            yield pb.ExplainStreamResponse(accepted=pb.Accepted(request_id=call.id))
            yield pb.ExplainStreamResponse(final=kept)
            return
        computation, waiter, forecast = await self._join_or_start(identified)
        try:
            accepted = responses.accepted(call, computation, forecast)
            yield pb.ExplainStreamResponse(accepted=accepted)
            sent = 0
            while not waiter.over:
                await waiter.progress()
                # Sends attributions only after a change; before the first ones, each count of rows.
                revision = computation.revision
                if waiter.over:
                    break
                if not revision or revision != sent:
                    sent = revision
                    yield pb.ExplainStreamResponse(partial=await self._partial(computation))
            final = await self._answer(identified, computation, waiter, "ExplainStream")
            yield pb.ExplainStreamResponse(final=final)
        finally:
            computation.leave(waiter, call.end_reason)

    async def _identify(
        self, request: pb.ExplainRequest, call: Call, *, stream: bool
    ) -> _IdentifiedRequest:
        """Reads what a request needs before an answer that was kept may be its own."""
        model = self.catalogue.find(request.model)
        methods = parsed_request.read_methods(request, model)
        shares = admission.shares(request)
        key = await self.reader.key(request, model, methods, call) if shares else None
        # Checked here, because the key has neither: a wrong request has no kept answer either.
        priority = admission.priority(request)
        partial_answer = budgets.partial(request.budget, stream=stream)
        return _IdentifiedRequest(
            request, model, methods, key, call, priority, partial_answer, stream
        )

    def _kept(self, identified: _IdentifiedRequest) -> pb.ExplainResponse | None:
        """Returns the kept answer of an equal request; None if there is none."""
        stored = None if identified.key is None else self.cache.get(identified.key)
        if stored is None:
            return None
        response = pb.ExplainResponse.FromString(stored)
        self.metrics.hit(identified.model.name)
        self.metrics.repeated(identified.model.name, response)
        response.cache = explanation_pb2.CACHE_STATUS_HIT
        response.timings.total_seconds = monotonic() - identified.call.arrival
        response.request_id = identified.call.id
        return response

    async def _jointly(self, identified: _IdentifiedRequest) -> pb.ExplainResponse | None:
        """Returns the answer of a request that is explained jointly with others, if it can be."""
        call, running = identified.call, self.computations
        if identified.partial and call.deadline is not None:
            return None
        if running.find(identified.key, identified.priority) is not None:
            return None
        return await self.joint.explain(
            identified.message,
            identified.model,
            identified.methods,
            call,
            key=identified.key,
            priority=identified.priority,
            due=admission.due(call, partial=False),
        )

    async def _join_or_start(
        self, identified: _IdentifiedRequest
    ) -> tuple[SharedComputation, Waiter, Forecast | None]:
        """Joins an identical computation that is running, or starts one.

        Returns:
            The computation, the request's waiter, and the forecast of a new computation.
        """
        due = admission.due(identified.call, partial=identified.partial)
        terms = Terms(identified.priority, due, identified.partial, identified.stream)
        found = self.computations.find(identified.key, terms.priority)
        if found is None:
            parsed = await self.reader.explanation(
                identified.message, identified.model, identified.methods, identified.call
            )
            # An identical request may have been read faster meanwhile.
            found = self.computations.find(identified.key, terms.priority)
            if found is None:
                started, forecast = self._start(identified, parsed, terms)
                return started, started.join(terms, joined=False), forecast
        return found, found.join(terms), None

    def _start(
        self, identified: _IdentifiedRequest, parsed: ParsedRequest, terms: Terms
    ) -> tuple[SharedComputation, Forecast]:
        """Starts a computation, if there is time and room for it."""
        cost = costs.of_explanation(parsed)
        forecast = self.dispatcher.forecast(parsed.model, cost, terms.priority)
        if terms.due is not None:
            admission.check_time(cost, forecast, terms.due, partial=terms.partial)
        plan = Explanation(parsed)
        work = Work(
            parsed.model,
            plan,
            cost,
            finished=asyncio.get_running_loop().create_future(),
            arrival=identified.call.arrival,
            priority=terms.priority,
            caller=identified.call.caller or None,
            seconds=forecast.seconds,
            deadline=terms.due,
            expires=False,
            deterministic=parsed.deterministic,
        )
        computation = SharedComputation(
            parsed,
            plan,
            work,
            cancel=self.dispatcher.cancel,
            ended=partial(self.computations.remove, identified.key),
        )
        self.dispatcher.submit(work)
        self.computations.add(identified.key, computation)
        return computation, forecast

    async def _partial(self, computation: SharedComputation) -> pb.Partial:
        if not computation.large:
            return responses.partial(computation)
        async with computation.writing:
            return await asyncio.to_thread(responses.partial, computation)

    async def _answer(
        self,
        identified: _IdentifiedRequest,
        computation: SharedComputation,
        waiter: Waiter,
        rpc: str,
    ) -> pb.ExplainResponse:
        """Returns the answer of a computation that has ended, or the best one so far."""
        work, model = computation.work, identified.model.name
        response = await self._response(identified, computation, waiter)
        queued = responses.queue_seconds(work, identified.call)
        self.metrics.answered(model, rpc, queued, work.compute_seconds)
        if waiter.joined:
            response.cache = explanation_pb2.CACHE_STATUS_JOINED
            self.metrics.joined(model)
        elif identified.key is not None:
            response.cache = explanation_pb2.CACHE_STATUS_MISS
            self.metrics.missed(model)
        response.timings.CopyFrom(responses.timings(work, identified.call))
        response.request_id = identified.call.id
        return response

    async def _response(
        self, identified: _IdentifiedRequest, computation: SharedComputation, waiter: Waiter
    ) -> pb.ExplainResponse:
        work, parsed = computation.work, computation.parsed
        if not work.finished.done():
            best = computation.best() if waiter.terms.partial else None
            if best is None:
                raise DeadlineExceeded("the deadline came before the answer")
            self.metrics.explained(parsed, best)
            if computation.large:
                write = partial(responses.explanation, parsed, best, computation.outputs)
                return await asyncio.to_thread(write)
            return responses.explanation(parsed, best, computation.outputs)
        if isinstance(work.error, BudgetExceeded):
            raise budgets.too_few_rows(work.error, parsed.budget, parsed.inputs.count)
        if work.error is not None:
            raise work.error
        async with computation.writing:
            if computation.stored is None:
                return await self._write_once(identified, computation)
            response = pb.ExplainResponse.FromString(computation.stored)
            self.metrics.repeated(parsed.model.name, response)
            return response

    async def _write_once(
        self, identified: _IdentifiedRequest, computation: SharedComputation
    ) -> pb.ExplainResponse:
        """Writes the answer of a computation that has ended, for all its waiters."""
        parsed = computation.parsed
        answered = computation.plan.answered(computation.work.results)
        write = partial(_write, computation, answered, keep=identified.key is not None)
        # A thread writes large answers, to keep the event loop free; all else runs in the loop.
        response, stored = await asyncio.to_thread(write) if computation.large else write()
        costs.learn(parsed, answered)
        self.metrics.explained(parsed, answered)
        if identified.key is not None:
            computation.stored = stored
            self.cache.put(identified.key, stored)
        return response


def _write(
    computation: SharedComputation, answered: PieceAttributions, *, keep: bool
) -> tuple[pb.ExplainResponse, bytes]:
    response = responses.explanation(computation.parsed, answered, computation.outputs)
    return response, response.SerializeToString() if keep else b""
