"""Metadata, configurations and statistics -> messages of the protocol."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from adcaptum.service.protocols.oip.model_index import IndexEntry
from adcaptum.service.protocols.oip.model_metadata import PLATFORM, ModelMetadata, TensorForm
from adcaptum.service.protocols.oip.statistics import Duration, ModelStatistics
from adcaptum.service.protocols.oip.wire.messages import POOL, message

MetadataMessage: Final = message("ModelMetadataResponse")
ConfigMessage: Final = message("ModelConfigResponse")
StatisticsMessage: Final = message("ModelStatisticsResponse")
IndexMessage: Final = message("RepositoryIndexResponse")

DATA_TYPES: Final = {
    each.name.removeprefix("TYPE_"): each.number
    for each in POOL.FindEnumTypeByName("inference.DataType").values
} | {"BYTES": POOL.FindEnumTypeByName("inference.DataType").values_by_name["TYPE_STRING"].number}

PRIORITY_LEVELS: Final = 2
"""The levels of `priority`: interactive and batch."""

NANOSECONDS: Final = 1e9
MILLISECONDS: Final = 1e3


def metadata(found: ModelMetadata) -> Any:
    """Returns the metadata of a model."""
    reply = MetadataMessage(name=found.name, versions=found.versions, platform=PLATFORM)
    for into, forms in ((reply.inputs, found.inputs), (reply.outputs, found.outputs)):
        for form in forms:
            into.add(name=form.name, datatype=form.datatype, shape=form.shape)
    reply.properties.update(found.properties)
    return reply


def config(found: ModelMetadata) -> Any:
    """Returns the configuration of a model, as far as it is one in Triton's words."""
    reply = ConfigMessage()
    own = reply.config
    own.name, own.platform, own.backend = found.name, PLATFORM, "pytorch"
    # Batches are the first dimension, which `dims` leaves out.
    own.max_batch_size = found.max_examples
    for into, forms in ((own.input, found.inputs), (own.output, found.outputs)):
        for form in forms:
            into.add(name=form.name, data_type=DATA_TYPES[form.datatype], dims=_dims(form))
    batching = own.dynamic_batching
    batching.priority_levels, batching.default_priority_level = PRIORITY_LEVELS, 1
    batching.preserve_ordering = False
    batching.default_queue_policy.allow_timeout_override = True
    own.model_transaction_policy.decoupled = found.decoupled
    own.response_cache.enable = found.decoupled
    return reply


def statistics(found: Iterable[ModelStatistics]) -> Any:
    """Returns what was counted."""
    reply = StatisticsMessage()
    for each in found:
        own = reply.model_stats.add(
            name=each.name,
            version=each.version,
            last_inference=round(each.last * MILLISECONDS),
            inference_count=each.examples,
            execution_count=each.batches,
        )
        stats = own.inference_stats
        computed = each.queue.count
        rest = each.success.seconds - each.cached.seconds - each.queue.seconds
        for into, duration in (
            (stats.success, each.success),
            (stats.fail, each.failure),
            (stats.queue, each.queue),
            # Reading is not told apart from writing.
            (stats.compute_input, Duration(computed, 0.0)),
            (stats.compute_infer, each.compute),
            (stats.compute_output, Duration(computed, max(0.0, rest - each.compute.seconds))),
            (stats.cache_hit, each.cached),
            (stats.cache_miss, Duration(computed, 0.0)),
        ):
            into.count, into.ns = duration.count, round(duration.seconds * NANOSECONDS)
    return reply


def index(found: Sequence[IndexEntry]) -> Any:
    """Returns the list of models."""
    reply = IndexMessage()
    for each in found:
        reply.models.add(**each._asdict())
    return reply


def _dims(form: TensorForm) -> tuple[int, ...]:
    # There is no dimension to tell of where a text or a number is one element.
    return form.shape[1:] or (1,)
