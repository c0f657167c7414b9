"""The description of a model on all workers that have it."""

import asyncio
from collections.abc import Sequence

import grpc

from adcaptum.service.errors import NotFound, Reason, Unavailable
from adcaptum.service.front import merging
from adcaptum.service.front.fleet import messenger
from adcaptum.service.front.worker_answer import WorkerAnswer
from adcaptum.service.supervisor.slot import Slot
from adcaptum.service.supervisor.views import WorkerView
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2

GET_MODEL = "/adcaptum.v1.ExplanationService/GetModel"


class FleetView:
    """The models of all workers, as these describe them."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots

    async def describe(self, reference: model_pb2.ModelRef, *, full: bool) -> model_pb2.Model:
        """Describes a model.

        Args:
            reference: The model; with a version or an alias, that version only.
            full: Whether to list its layers.

        Raises:
            NotFound: No worker has it.
            WorkerAnswer: A worker answered with an error.
            Unavailable: No worker answers.
        """
        names = {name for slot in self._slots for name in slot.models}
        if reference.name not in names:
            raise NotFound("model", reference.name, names)
        view = pb.MODEL_VIEW_FULL if full else pb.MODEL_VIEW_BASIC
        request = pb.GetModelRequest(model=reference, view=view)
        holders = [
            slot.process
            for slot in self._slots
            if reference.name in slot.models and slot.process is not None and slot.process.listening
        ]
        answers = await asyncio.gather(*(_ask(each, request) for each in holders))
        found = [each for each in answers if isinstance(each, model_pb2.Model)]
        if found:
            for model in found[1:]:
                merging.add_placements(found[:1], [model])
            return found[0]
        for error in answers:
            if isinstance(error, WorkerAnswer):
                raise error
        raise Unavailable("No worker answers.", reason=Reason.WORKER_LOST)


async def _ask(
    process: WorkerView, request: pb.GetModelRequest
) -> model_pb2.Model | WorkerAnswer | None:
    try:
        return (await messenger.ask(process, GET_MODEL, request, pb.GetModelResponse)).model
    except WorkerAnswer as error:
        return error
    except grpc.aio.AioRpcError:
        return None
