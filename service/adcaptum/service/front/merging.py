"""Descriptions of several workers -> one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import grpc

from adcaptum.service.placement.stored import numeric
from adcaptum.service.processes.facts import resident_bytes
from adcaptum.service.rpc import pages
from adcaptum.service.supervisor.views import SlotView
from adcaptum.v1 import (
    explanation_service_pb2 as explanation_pb2,
    model_pb2,
    repository_service_pb2 as pb,
)

LIST_MODELS: Final = "/adcaptum.v1.ExplanationService/ListModels"
STATES_SECONDS: Final = 5.0

BEST_FIRST: Final = (
    model_pb2.MODEL_STATE_READY,
    model_pb2.MODEL_STATE_LOADING,
    model_pb2.MODEL_STATE_UNLOADING,
    model_pb2.MODEL_STATE_QUARANTINED,
    model_pb2.MODEL_STATE_FAILED,
    model_pb2.MODEL_STATE_UNLOADED,
)
"""States of placements; a version has the first of its placements'."""


def add_placements(models: Iterable[model_pb2.Model], others: Iterable[model_pb2.Model]) -> None:
    """Adds the placements of models on another worker.

    Args:
        models: The models, which are changed.
        others: The same models, as the other worker describes them.
    """
    known = {model.name: model for model in others}
    for model in models:
        other = known.get(model.name)
        if other is None:
            continue
        if _is_unread(model) and not _is_unread(other):
            read, other = other, model_pb2.Model()
            other.CopyFrom(model)
            model.CopyFrom(read)
        _add_versions(model, other)
        versions = {each.identity.version: each for each in other.versions}
        for version in model.versions:
            found = versions.get(version.identity.version) or versions.get("")
            if found is not None:
                _add(version, found)


def _add_versions(model: model_pb2.Model, other: model_pb2.Model) -> None:
    """Adds the versions that only another worker knows: it has loaded the model later."""
    if _is_unread(model) or _is_unread(other):
        return
    known = {each.identity.version for each in model.versions}
    later = [each for each in other.versions if each.identity.version not in known]
    if later:
        both = sorted([*model.versions, *later], key=lambda each: numeric(each.identity.version))
        copied = model_pb2.Model(versions=both)
        del model.versions[:]
        model.versions.extend(copied.versions)


def joined(
    replies: Sequence[explanation_pb2.ListModelsResponse], size: int
) -> explanation_pb2.ListModelsResponse:
    """Returns one page of the models of several workers, each of which gave its page.

    Args:
        replies: Their pages, for one token and one size.
        size: The most models of the page; 0 for the usual number.
    """
    first, *others = replies
    for each in others:
        known = {model.name for model in first.models}
        add_placements(first.models, each.models)
        first.models.extend(model for model in each.models if model.name not in known)
    found = sorted(first.models, key=lambda model: model.name)
    shown = found[: pages.most(size)]
    more = len(found) > len(shown) or any(each.next_page_token for each in replies)
    token = pages.token_after(shown[-1].name, "models") if more and shown else ""
    return explanation_pb2.ListModelsResponse(models=shown, next_page_token=token)


def _is_unread(model: model_pb2.Model) -> bool:
    """Returns whether a worker has not read a model: it loads, has failed or is elsewhere."""
    return not any(each.identity.version for each in model.versions)


def _add(version: model_pb2.ModelVersion, other: model_pb2.ModelVersion) -> None:
    """Adds the placements of a version on another worker."""
    present = {each.worker for each in version.placements}
    added = [each for each in other.placements if each.worker not in present]
    version.placements.extend(added)
    version.load_failure = version.load_failure or other.load_failure
    times = [each.load_time for each in (version, other) if each.HasField("load_time")]
    if len(times) > 1:
        # Since then it serves.
        version.load_time.CopyFrom(min(times, key=lambda each: each.ToNanoseconds()))
    if not version.placements:
        return
    placements = sorted(version.placements, key=lambda each: each.worker.zfill(4))
    del version.placements[:]
    version.placements.extend(placements)
    best = min(placements, key=lambda each: BEST_FIRST.index(each.state))
    if best.state == version.state:
        return
    if other.identity.version:
        version.CopyFrom(_with_placements(other, placements))
    else:
        version.state, version.reason = best.state, best.reason


def mark_quarantined(models: Iterable[model_pb2.Model], quarantined: Mapping[str, str]) -> None:
    """Says of models that they are out of service.

    Args:
        models: The models, which are changed.
        quarantined: The reason of each one that is.
    """
    for model in models:
        reason = quarantined.get(model.name)
        if reason is None:
            continue
        for version in model.versions:
            version.state, version.reason = model_pb2.MODEL_STATE_QUARANTINED, reason
            for placement in version.placements:
                placement.state, placement.reason = version.state, reason


def worker(slot: SlotView, quarantined: Mapping[str, str]) -> pb.Worker:
    """Describes a worker."""
    process = slot.process
    described = pb.Worker(
        id=slot.id, device=slot.device, restarts=slot.restarts, reason=slot.reason
    )
    if process is None or process.died.done():
        described.state = pb.WORKER_STATE_ENDED
        return described
    described.pid = process.pid
    described.memory_bytes = resident_bytes(process.pid)
    described.models.extend(sorted(process.serving - quarantined.keys()))
    if process.stopping:
        described.state = pb.WORKER_STATE_STOPPING
    elif process.ready:
        described.state = pb.WORKER_STATE_READY
    else:
        described.state = pb.WORKER_STATE_STARTING
    return described


async def states(slots: Iterable[SlotView]) -> dict[str, str]:
    """Returns the best state of each model on the workers that serve, in words for the log."""
    found: dict[str, model_pb2.ModelState.ValueType] = {}
    for slot in slots:
        if slot.process is None or not slot.process.ready:
            continue
        call = slot.process.link.call(LIST_MODELS, streamed=False)
        request = explanation_pb2.ListModelsRequest(page_size=1000)
        try:
            reply = await call(request.SerializeToString(), timeout=STATES_SECONDS)
        except grpc.aio.AioRpcError:
            continue
        for model in explanation_pb2.ListModelsResponse.FromString(reply).models:
            if model.versions:
                known = (found.get(model.name, BEST_FIRST[-1]), model.versions[0].state)
                found[model.name] = min(known, key=BEST_FIRST.index)
    return {name: _word(state) for name, state in found.items()}


def _word(state: model_pb2.ModelState.ValueType) -> str:
    return model_pb2.ModelState.Name(state).removeprefix("MODEL_STATE_").lower()


def _with_placements(
    version: model_pb2.ModelVersion, placements: Iterable[model_pb2.Placement]
) -> model_pb2.ModelVersion:
    copied = model_pb2.ModelVersion()
    copied.CopyFrom(version)
    del copied.placements[:]
    copied.placements.extend(placements)
    return copied
