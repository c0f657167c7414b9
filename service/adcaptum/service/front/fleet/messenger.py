"""The messenger: calls of RepositoryService and descriptions, to workers themselves."""

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from adcaptum.service.errors import ModelFailed
from adcaptum.service.front.worker_answer import WorkerAnswer, is_loss
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.views import WorkerView

M = TypeVar("M", bound=Message)

WAIT_SECONDS: Final = 0.05
"""The time between two looks at whether a process answers calls."""

REPOSITORY: Final = "/adcaptum.v1.RepositoryService/"


class Lost(ModelFailed):
    """A worker process ended while it was asked."""


async def ask(process: WorkerView, path: str, request: Message, kind: type[M]) -> M:
    """Returns the answer of a process.

    Raises:
        WorkerAnswer: It answered with an error.
        grpc.aio.AioRpcError: It is lost.
    """
    try:
        answer: bytes = await process.link.call(path, streamed=False)(request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        if is_loss(error):
            raise
        raise WorkerAnswer(error) from error
    return kind.FromString(answer)


async def tell(slot: Slot, rpc: str, request: Message, kind: type[M], patience: float) -> M | None:
    """Has the processes of a worker do something; those that start are waited for.

    Args:
        slot: The worker.
        rpc: A method of RepositoryService.
        request: Its request.
        kind: The kind of its answers.
        patience: The longest wait for a process that starts, in seconds.

    Returns:
        An answer; None if no process is there: the next one begins with what is wanted by then.

    Raises:
        WorkerAnswer: A process answered with an error.
        Lost: A process ended meanwhile.
    """
    answer = None
    for process in _to_tell(slot):
        if not await _answers(process, patience):
            continue
        try:
            answer = await ask(process, REPOSITORY + rpc, request, kind)
        except grpc.aio.AioRpcError as error:
            if not process.stopping:
                raise Lost(f"Worker {slot.id} ended meanwhile.") from error
    return answer


def _to_tell(slot: Slot) -> Iterable[WorkerView]:
    return [each for each in slot.processes if not each.stopping]


async def _answers(process: WorkerView, patience: float) -> bool:
    """Waits until a process answers calls; returns whether it does."""
    end = monotonic() + patience
    while not process.listening:
        if process.died.done() or process.stopping or monotonic() > end:
            return False
        await asyncio.sleep(WAIT_SECONDS)
    return True
