"""The forwarder: sends the bytes of a request to a worker, and once more where the worker is lost.

Rules:
1. All calls are pure, so a request whose worker ends is sent to another one.
2. A worker's journal tells whose rows ran when it ended. A request that was among them gets a
   strike. With two it is refused and quarantined: whoever sends it again is refused at once.
3. Requests with a strike are sent one at a time, so that two of them never share a worker that
   ends: the innocent ones among them answer, and only the culprit gets a second strike.
4. A model that has ended a worker lately has one worker at most, and none while no other serves
   (`Router`): whatever its requests do, the other models have a worker.
5. A request that loses workers and is not to blame is sent `MOST_ATTEMPTS` times. Those that a
   worker refuses because it stops are sent to another; that does not count.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, Final

import grpc

from adcaptum.service import logs
from adcaptum.service.errors import DeadlineExceeded, Quarantined, Reason, Unavailable
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.passage import Passage
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.router import Router
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.front.worker_answer import WorkerAnswer, is_draining, is_loss
from adcaptum.service.rpc.calls import COST_KEY
from adcaptum.service.rpc.frames.client import Answered
from adcaptum.service.supervisor.views import WorkerView

MOST_ATTEMPTS: Final = 2
"""The most times that a request is sent which is not to blame for what it lost."""

MOST_REFUSALS: Final = 8
"""The most workers that refuse a request because they stop."""

DEATH_SECONDS: Final = 3.0
"""The time for which the end of a process is awaited after its connection has ended."""


class Forwarder:
    """Sends requests to workers."""

    def __init__(
        self,
        router: Router,
        quarantine: Quarantine,
        quarantined_models: Mapping[str, str],
        metrics: FrontMetrics,
        suspects: Suspects,
    ) -> None:
        """Prepares it.

        Args:
            router: Chooses the worker of a request.
            quarantine: The requests that are refused.
            quarantined_models: The reason of each model that is out of service.
            metrics: What is counted.
            suspects: The turn of requests with a strike.
        """
        self._router = router
        self._quarantine = quarantine
        self._models = quarantined_models
        self._metrics = metrics
        self._suspects = suspects

    async def unary(self, passage: Passage) -> bytes:
        """Returns the answer to a request.

        Raises:
            WorkerAnswer: The worker answered with an error.
            ServiceError: The front refuses it, or no worker is left.
        """
        lost: grpc.aio.AioRpcError | None
        while True:
            async with self._worker(passage) as process:
                try:
                    answer, trailing = await self._send(passage, process)
                    _note(passage, trailing)
                except grpc.aio.AioRpcError as error:
                    lost, passage.is_lost = error, is_loss(error)
                except asyncio.CancelledError:
                    if _is_cancelled():
                        raise
                    lost, passage.is_lost = None, True
                else:
                    return answer
            await self._after(passage, process, lost)

    async def stream(self, passage: Passage) -> AsyncGenerator[bytes, None]:
        """Yields the events of a request; after the loss of a worker they begin anew.

        Raises:
            WorkerAnswer: The worker answered with an error.
            ServiceError: The front refuses it, or no worker is left.
        """
        lost: grpc.aio.AioRpcError | None
        while True:
            async with self._worker(passage) as process:
                call = self._open(passage, process)
                try:
                    async for event in call:
                        yield event
                    _note(passage, dict(await call.trailing_metadata() or ()))
                except grpc.aio.AioRpcError as error:
                    lost, passage.is_lost = error, is_loss(error)
                except asyncio.CancelledError:
                    if _is_cancelled():
                        raise
                    lost, passage.is_lost = None, True
                else:
                    return
                finally:
                    call.cancel()
            await self._after(passage, process, lost)

    def _send(self, passage: Passage, process: WorkerView) -> Awaitable[Answered]:
        _remaining(passage)
        return process.link.unary(
            passage.path, passage.raw, passage.call.deadline, passage.metadata
        )

    def _open(self, passage: Passage, process: WorkerView) -> Any:
        make: Callable[..., Any] = process.link.call(passage.path, streamed=True)
        return make(passage.raw, timeout=_remaining(passage), metadata=passage.metadata)

    @asynccontextmanager
    async def _worker(self, passage: Passage) -> AsyncIterator[WorkerView]:
        """Gives the process for one attempt, and counts what it has."""
        if passage.strikes:
            async with self._suspects.alone():
                self._check(passage)
                async with self._chosen(passage) as process:
                    yield process
            return
        self._check(passage)
        async with self._chosen(passage) as process:
            yield process

    @asynccontextmanager
    async def _chosen(self, passage: Passage) -> AsyncIterator[WorkerView]:
        asked = passage.asked()
        process = await self._router.choose(asked, passage.call.deadline, passage.lost)
        with self._router.sent(process, asked) as passage.trip, _sent(process, passage):
            yield process

    def _check(self, passage: Passage) -> None:
        """Refuses requests and models that end workers."""
        if passage.model in self._models and not passage.describes:
            raise Quarantined(
                f"Model {passage.model!r} is out of service: {self._models[passage.model]}.",
                reason=Reason.MODEL_QUARANTINED,
                subject=passage.model,
            )
        if self._quarantine.holds(passage.rpc, passage.body):
            raise _refused(passage)

    async def _after(
        self, passage: Passage, process: WorkerView, error: grpc.aio.AioRpcError | None
    ) -> None:
        """Returns if a request is to be sent again.

        Raises:
            WorkerAnswer: It was answered.
            Quarantined: It ended two workers.
            Unavailable: It has been sent often enough.
        """
        if error is not None and not is_loss(error):
            answer = WorkerAnswer(error)
            if not is_draining(answer) or passage.refusals >= MOST_REFUSALS:
                raise answer
            passage.attempts -= 1
            passage.refusals += 1
            passage.lost.append(process)
            return
        passage.lost.append(process)
        try:
            await asyncio.wait([process.died], timeout=DEATH_SECONDS)
        finally:
            if not process.died.done():
                # It lives, and would keep the bytes for as long.
                process.bodies.pop(passage.id, None)
        death = process.died.result() if process.died.done() else None
        if death is not None and self._is_blamed(passage, death.requests, process):
            passage.strikes += 1
        logs.logger().warning(
            "a request lost its worker",
            worker=process.seat.worker,
            rpc=passage.rpc,
            model=passage.model,
            attempt=passage.attempts,
            strikes=passage.strikes,
            code="" if error is None else error.code().name,
        )
        if passage.strikes >= 2:
            self._quarantine.add(passage.rpc, passage.body)
            self._metrics.quarantined.labels(passage.model).inc()
            raise _refused(passage)
        if passage.attempts >= MOST_ATTEMPTS:
            raise Unavailable(
                "The workers that served the request ended.", reason=Reason.WORKER_LOST, retry_s=1.0
            )
        self._metrics.retried.inc()

    def _is_blamed(self, passage: Passage, blamed: frozenset[str], process: WorkerView) -> bool:
        """Returns whether the rows of a request ran, its own or those of an equal one."""
        if passage.id in blamed:
            return True
        # An equal request may have joined its computation, or the other way round. Keys do not
        # show that: a caller can make a request with the key of another one.
        return any(process.bodies.get(each) == passage.body for each in blamed)


def _remaining(passage: Passage) -> float | None:
    """Returns the seconds to a request's deadline; None if it has none.

    Raises:
        DeadlineExceeded: There are none.
    """
    deadline = passage.call.deadline
    seconds = None if deadline is None else deadline - monotonic()
    if seconds is not None and seconds <= 0:
        raise DeadlineExceeded("the deadline came before the answer")
    return seconds


def _note(passage: Passage, trailing: Mapping[str, Any]) -> None:
    """Notes what a worker says of the request that it has answered."""
    passage.trip.seconds = passage.call.spent.seconds = float(trailing.get(COST_KEY, 0.0))


def _is_cancelled() -> bool:
    """Returns whether the call that this task serves was cancelled, not the one to the worker."""
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


@contextmanager
def _sent(process: WorkerView, passage: Passage) -> Iterator[None]:
    """Counts a request among those of a process, which keeps the bytes of those it lost."""
    request = passage.id
    passage.attempts += 1
    passage.process = process
    passage.is_lost = False
    process.bodies[request] = passage.body
    try:
        yield
    finally:
        if not passage.is_lost:
            process.bodies.pop(request, None)


def _refused(passage: Passage) -> Quarantined:
    return Quarantined(
        "The request, or one that equals it, ended two worker processes; it is refused for a time.",
        reason=Reason.REQUEST_QUARANTINED,
        subject=passage.model,
    )
