"""Decoding of the descriptions of the server, its models and its methods."""

from datetime import UTC, datetime
from typing import Any

from adcaptum.client.codec.methods import decode_value
from adcaptum.client.codec.presets import decode_preset
from adcaptum.client.codec.words import words_of
from adcaptum.client.results.method_info import (
    MethodInfo,
    ParameterInfo,
    ParameterType,
    SiteUse,
)
from adcaptum.client.results.model_info import (
    FeatureInfo,
    InputInfo,
    InputKind,
    LayerInfo,
    ModelChecks,
    ModelIdentity,
    ModelInfo,
    ModelLimits,
    ModelState,
    OutputInfo,
    OutputKind,
    Placement,
    VersionInfo,
)
from adcaptum.client.results.server_info import ServerInfo
from adcaptum.client.results.worker_info import WorkerInfo, WorkerState
from adcaptum.v1 import explanation_service_pb2, method_pb2, model_pb2, repository_service_pb2

_STATES = words_of(model_pb2.ModelState, "MODEL_STATE_", ModelState)
_INPUT_KINDS = words_of(model_pb2.InputKind, "INPUT_KIND_", InputKind)
_OUTPUT_KINDS = words_of(model_pb2.OutputKind, "OUTPUT_KIND_", OutputKind)
_WORKER_STATES = words_of(repository_service_pb2.WorkerState, "WORKER_STATE_", WorkerState)
_TYPES = words_of(method_pb2.ParameterType, "PARAMETER_TYPE_", ParameterType)
_SITE_USES = words_of(method_pb2.SiteUse, "SITE_USE_", SiteUse)


def decode_server(server: explanation_service_pb2.GetServerResponse) -> ServerInfo:
    """Decode the description of a server."""
    return ServerInfo(server.version, tuple(server.extensions))


def decode_worker(worker: repository_service_pb2.Worker) -> WorkerInfo:
    """Decode the description of a worker."""
    return WorkerInfo(
        worker.id,
        worker.device,
        worker.pid,
        _WORKER_STATES.get(worker.state, WorkerState.UNKNOWN),
        worker.restarts,
        worker.memory_bytes,
        tuple(worker.models),
        worker.reason,
    )


def decode_identity(identity: model_pb2.ModelIdentity) -> ModelIdentity:
    """Decode the identity of a model."""
    return ModelIdentity(identity.name, identity.version, identity.digest)


def decode_model(model: model_pb2.Model) -> ModelInfo:
    """Decode the description of a model."""
    return ModelInfo(
        name=model.name,
        description=model.description,
        default_version=model.default_version,
        aliases=dict(sorted(model.aliases.items())),
        versions=tuple(decode_version_info(each) for each in model.versions),
        message=model,
    )


def decode_method_info(method: method_pb2.Method) -> MethodInfo:
    """Decode the description of a method."""
    availability = method.availability
    return MethodInfo(
        name=method.name,
        title=method.title,
        description=method.description,
        paper=method.paper,
        parameters=tuple(_decode_parameter(each) for each in method.parameters),
        needs_gradients=method.needs_gradients,
        uses_baseline=method.uses_baseline,
        uses_seed=method.uses_seed,
        accepts_feature_masks=method.accepts_feature_masks,
        accepts_distribution=method.accepts_distribution,
        accepts_tolerance=method.accepts_tolerance,
        accepts_neuron=method.accepts_neuron,
        site_use=_SITE_USES.get(method.site_use, SiteUse.UNKNOWN),
        available=_given(availability, "available"),
        reason=availability.reason,
        message=method,
    )


def decode_version_info(version: model_pb2.ModelVersion) -> VersionInfo:
    """Decode the description of a version."""
    loaded = version.load_time
    return VersionInfo(
        identity=decode_identity(version.identity),
        state=_STATES.get(version.state, ModelState.UNKNOWN),
        reason=version.reason,
        load_time=(
            datetime.fromtimestamp(loaded.seconds + loaded.nanos / 1e9, UTC)
            if version.HasField("load_time")
            else None
        ),
        inputs=tuple(_decode_input(each) for each in version.inputs),
        outputs=tuple(_decode_output(each) for each in version.outputs),
        layers=tuple(
            LayerInfo(each.name, each.alias, each.type, tuple(each.shape))
            for each in version.layers
        ),
        checks=(
            ModelChecks(version.checks.independent, version.checks.differentiable)
            if version.HasField("checks")
            else None
        ),
        limits=ModelLimits(version.limits.max_rows, version.limits.max_examples),
        placements=tuple(_decode_placement(each) for each in version.placements),
        presets=tuple(decode_preset(each) for each in version.presets),
        default_preset=version.default_preset,
        load_failure=version.load_failure,
        accuracy=_given(version, "accuracy"),
    )


def _decode_input(described: model_pb2.ModelInput) -> InputInfo:
    return InputInfo(
        name=described.name,
        kind=_INPUT_KINDS.get(described.kind, InputKind.UNKNOWN),
        datatype=described.datatype,
        accepted_datatypes=tuple(described.accepted_datatypes),
        shape=tuple(described.shape),
        features=tuple(_decode_feature(each) for each in described.features),
        default_baseline=described.default_baseline,
        baselines=tuple(described.baselines),
        background_rows=described.background_rows,
        embedding_layer=described.embedding_layer,
    )


def _decode_feature(feature: model_pb2.Feature) -> FeatureInfo:
    return FeatureInfo(
        name=feature.name,
        unit=feature.unit,
        minimum=_given(feature, "minimum"),
        maximum=_given(feature, "maximum"),
        mean=_given(feature, "mean"),
        standard_deviation=_given(feature, "standard_deviation"),
        categories=tuple(feature.categories),
    )


def _decode_output(described: model_pb2.ModelOutput) -> OutputInfo:
    return OutputInfo(
        name=described.name,
        kind=_OUTPUT_KINDS.get(described.kind, OutputKind.UNKNOWN),
        datatype=described.datatype,
        shape=tuple(described.shape),
        labels=tuple(described.labels),
    )


def _decode_placement(placement: model_pb2.Placement) -> Placement:
    return Placement(
        worker=placement.worker,
        device=placement.device,
        state=_STATES.get(placement.state, ModelState.UNKNOWN),
        reason=placement.reason,
        variant=placement.variant,
    )


def _decode_parameter(parameter: method_pb2.Parameter) -> ParameterInfo:
    return ParameterInfo(
        name=parameter.name,
        type=_TYPES.get(parameter.type, ParameterType.UNKNOWN),
        default=decode_value(parameter.default_value),
        minimum=_given(parameter, "minimum"),
        maximum=_given(parameter, "maximum"),
        choices=tuple(parameter.choices),
        description=parameter.description,
    )


def _given(message: Any, name: str) -> Any:
    """Return an optional field; None if it is not set."""
    return getattr(message, name) if message.HasField(name) else None
