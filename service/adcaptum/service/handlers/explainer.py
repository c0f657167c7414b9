"""The explainer: answers Explain and ExplainStream, whatever the protocol.

A request is answered from the cache, joins an identical computation that is running, or starts one.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from adcaptum.engine.errors import InvalidArgument
from adcaptum.service import logs
from adcaptum.service.answers import statuses
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers import admission, costs, responses
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint.joint_explainer import JointExplainer
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.request_reader import RequestReader
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.handlers.shared_computation import SharedComputation
from adcaptum.service.handlers.shared_computations import SharedComputations
from adcaptum.service.handlers.waiter import Terms, Waiter
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.requests import budgets, field_paths
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.runtime.cost import Forecast
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb


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
    computations: SharedComputations[SharedComputation]
    reader: RequestReader
    joint: JointExplainer

    async def explain(self, request: pb.ExplainRequest, call: Call) -> bytes:
        """Explains, and returns the answer, an `ExplainResponse`, serialised.

        Raises:
            ServiceError: The request is wrong, or the server cannot serve it.
        """
        identified = await self._identify(request, call, stream=False)
        if (kept := self._kept(identified)) is not None:
            return kept
        if self.computations.find(identified.key, identified.priority) is None:
            answer = await self.joint.explain(identified)
            if answer is not None:
                return answer
        computation, waiter, _ = await self._join_or_start(identified)
        try:
            return await self._answer(identified, computation, waiter, "Explain")
        finally:
            _leave(computation, waiter, call)

    async def explain_stream(
        self, request: pb.ExplainStreamRequest, call: Call
    ) -> AsyncGenerator[pb.ExplainStreamResponse | bytes, None]:
        """Explains, and reports progress on the way; the last event is serialised.

        Raises:
            ServiceError: The request is wrong, or the server cannot serve it.
        """
        identified = await self._identify(request.explain, call, stream=True)
        if (kept := self._kept(identified)) is not None:
            yield pb.ExplainStreamResponse(accepted=pb.Accepted(request_id=call.id))
            yield responses.last_event(kept)
            return
        computation, waiter, forecast = await self._join_or_start(identified)
        try:
            accepted = responses.accepted(call, computation, forecast)
            yield pb.ExplainStreamResponse(accepted=accepted)
            sent, named = 0, False
            while not waiter.over:
                await waiter.progress()
                # Sends attributions only after a change; before the first ones, each count of rows.
                revision = computation.revision
                if waiter.over:
                    break
                if not revision or revision != sent:
                    sent = revision
                    progress = await self._progress(computation, call, with_features=not named)
                    named = named or bool(progress.features)
                    yield pb.ExplainStreamResponse(progress=progress)
            answer = await self._answer(identified, computation, waiter, "ExplainStream")
            yield responses.last_event(answer)
        finally:
            _leave(computation, waiter, call)

    async def _identify(
        self, request: pb.ExplainRequest, call: Call, *, stream: bool
    ) -> IdentifiedRequest:
        """Reads what a request needs before an answer that was kept may be its own."""
        model = self.catalogue.find(request.model)
        question = await self.reader.question(request, model, call)
        shares = admission.shares(request)
        key = await self.reader.key(request, model, question, call) if shares else None
        # Checked here, because the key has neither: a wrong request has no kept answer either.
        priority = admission.priority(request)
        partial_answer = budgets.partial(request, question.budget, stream=stream)
        return IdentifiedRequest(
            request, model, question, key, call, priority, partial_answer, stream
        )

    def _kept(self, identified: IdentifiedRequest) -> bytes | None:
        """Returns the kept answer of an equal request; None if there is none."""
        stored = None if identified.key is None else self.cache.get(identified.key)
        if stored is None:
            return None
        self.metrics.hit(identified.model.name)
        self.metrics.repeated(identified.model.name, stored)
        return responses.of_call(stored, explanation_pb2.CACHE_STATUS_HIT, None, identified.call)

    async def _join_or_start(
        self, identified: IdentifiedRequest
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
                identified.message, identified.model, identified.question, identified.call
            )
            # An identical request may have been read faster meanwhile.
            found = self.computations.find(identified.key, terms.priority)
            if found is None:
                started, forecast = self._start(identified, parsed, terms)
                return started, started.join(terms, joined=False), forecast
        return found, found.join(terms), None

    def _start(
        self, identified: IdentifiedRequest, parsed: ParsedRequest, terms: Terms
    ) -> tuple[SharedComputation, Forecast]:
        """Starts a computation, if there is time and room for it."""
        cost = costs.of_explanation(parsed)
        forecast = self.dispatcher.forecast(parsed.model, cost, terms.priority)
        if terms.due is not None:
            admission.check_time(cost, forecast, terms.due, partial=terms.partial)
        plan = ExplanationPlan(parsed)
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
            ids=(identified.call.id,),
        )
        computation = SharedComputation(
            parsed,
            plan,
            work,
            cancel=self.dispatcher.cancel,
            ended=partial(self.computations.remove, identified.key),
            seconds=forecast.promise,
        )
        self.dispatcher.submit(work)
        self.computations.add(identified.key, computation)
        return computation, forecast

    async def _progress(
        self, computation: SharedComputation, call: Call, *, with_features: bool
    ) -> pb.Progress:
        write = partial(responses.progress, computation, call.id, with_features=with_features)
        if not computation.large:
            return write()
        async with computation.writing:
            return await asyncio.to_thread(write)

    async def _answer(
        self,
        identified: IdentifiedRequest,
        computation: SharedComputation,
        waiter: Waiter,
        rpc: str,
    ) -> bytes:
        """Returns the answer of a computation at its end, or the best one so far."""
        await waiter.end()
        answer = await self._written(identified, computation)
        work, joined = computation.work, waiter.joined
        return responses.reply(answer, identified, work, self.metrics, joined=joined, rpc=rpc)

    async def _written(
        self, identified: IdentifiedRequest, computation: SharedComputation
    ) -> bytes:
        work, parsed, call = computation.work, computation.parsed, identified.call
        if not work.finished.done():
            best = computation.best()
            if not best.attributions:
                # Every method failed, and the first one's error is that of the call.
                raise best.failures[0].error
            return await self._write_own(computation, best, call)
        if work.error is not None:
            raise _refusal(parsed, computation.plan, work)
        outcome = computation.plan.outcome(work.results)
        if outcome.failures:
            return await self._write_own(computation, outcome, call)
        async with computation.writing:
            if computation.stored is None:
                return await self._write_once(identified, computation, outcome)
            self.metrics.repeated(parsed.model.name, computation.stored)
            return computation.stored

    async def _write_own(
        self, computation: SharedComputation, outcome: Outcome, call: Call
    ) -> bytes:
        """Writes an answer that a deadline or failures cut short, for one waiter only."""
        parsed = computation.parsed
        for index, failure in outcome.failures.items():
            if statuses.is_hidden(failure.error):
                logs.logger().error(
                    "method",
                    model=parsed.model.name,
                    method=parsed.methods[index].spec.name,
                    exc_info=failure.error,
                )
        if computation.work.finished.done():
            costs.learn(parsed, outcome)
        self.metrics.explained(parsed, outcome)
        write = partial(responses.explanation, parsed, outcome, computation.outputs, call.id)
        return await asyncio.to_thread(write) if computation.large else write()

    async def _write_once(
        self, identified: IdentifiedRequest, computation: SharedComputation, outcome: Outcome
    ) -> bytes:
        """Writes the answer of a computation that has ended, for all its waiters."""
        parsed = computation.parsed
        outputs = computation.outputs
        write = partial(responses.explanation, parsed, outcome, outputs, identified.call.id)
        # A thread writes large answers, to keep the event loop free; all else runs in the loop.
        answer = await asyncio.to_thread(write) if computation.large else write()
        costs.learn(parsed, outcome)
        self.metrics.explained(parsed, outcome)
        if identified.key is not None:
            computation.stored = answer
            self.cache.put(identified.key, answer)
        return answer


def _leave(computation: SharedComputation, waiter: Waiter, call: Call) -> None:
    """Ends the waiting for a computation; what ran for nobody is charged to its beginner, too."""
    computation.leave(waiter, call.end_reason)
    if not waiter.joined and not call.spent.seconds:
        costs.charge(call, computation.work)


def _refusal(parsed: ParsedRequest, plan: ExplanationPlan, work: Work) -> Exception:
    """Returns the error of a call whose work failed."""
    error, culprit = work.error, work.culprit
    assert error is not None, "it failed"
    if not isinstance(culprit, Piece):
        return error
    if isinstance(error, InvalidArgument):
        return field_paths.invalid_request(error, parsed.question, culprit.method, culprit.target)
    # Every method failed, and the first one's error is that of the call.
    return parsed.failures.get(0) or plan.error_of(error)
