"""Messages that describe the server, models and methods."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version as package_version
from typing import Final

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.evaluation import Site
from adcaptum.service.models.catalogue.catalogue import version_name
from adcaptum.service.models.catalogue.entry import Entry, State
from adcaptum.service.models.declaration import (
    DEFAULT_PRESET,
    Declaration,
    InputDeclaration,
    OutputDeclaration,
)
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.place import Place
from adcaptum.service.requests.questions.suitability import obstacle
from adcaptum.service.wire.abilities import Abilities
from adcaptum.service.wire.method_specs import describe_method
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)

STATES: Final = {
    State.LOADING: model_pb2.MODEL_STATE_LOADING,
    State.READY: model_pb2.MODEL_STATE_READY,
    State.FAILED: model_pb2.MODEL_STATE_FAILED,
    State.UNLOADING: model_pb2.MODEL_STATE_UNLOADING,
    State.UNLOADED: model_pb2.MODEL_STATE_UNLOADED,
    State.ELSEWHERE: model_pb2.MODEL_STATE_UNLOADED,
}
INPUT_KINDS: Final = {
    "tensor": model_pb2.INPUT_KIND_TENSOR,
    "tabular": model_pb2.INPUT_KIND_TABULAR,
    "image": model_pb2.INPUT_KIND_IMAGE,
    "text": model_pb2.INPUT_KIND_TEXT,
}
OUTPUT_KINDS: Final = {
    "values": model_pb2.OUTPUT_KIND_VALUES,
    "logits": model_pb2.OUTPUT_KIND_LOGITS,
    "probabilities": model_pb2.OUTPUT_KIND_PROBABILITIES,
}
EXTENSIONS: Final[tuple[str, ...]] = ("model_lifecycle",)
"""The additions to the contract that this server understands."""


def server() -> pb.GetServerResponse:
    """Describes the server."""
    try:
        number = package_version("adcaptum")
    except PackageNotFoundError:
        number = ""
    return pb.GetServerResponse(version=number, extensions=EXTENSIONS)


def model(
    entry: Entry, reference: model_pb2.ModelRef | None, place: Place, *, layers: bool
) -> model_pb2.Model:
    """Describes a model.

    Args:
        entry: The model.
        reference: With a version or an alias, the only version to describe.
        place: Where it runs.
        layers: Whether to list them.

    Raises:
        NotFound: There is no such version or alias.
    """
    message = model_pb2.Model(name=entry.name)
    declaration = entry.declaration(entry.default_version)
    if declaration is None:
        # Its versions are not known, but its state is.
        _add_version(message.versions.add(), entry, "", place)
        return message
    message.description = declaration.description
    message.default_version = entry.default_version
    message.aliases.update(entry.aliases)
    names: Iterable[str] = entry.versions
    if reference is not None and reference.WhichOneof("selector") is not None:
        names = [version_name(entry, reference)]
    for name in names:
        version = message.versions.add()
        _add_version(version, entry, name, place)
        declared = entry.declaration(name)
        if declared is not None:
            _add_declared(version, declared, entry.served.get(name))
        if name in entry.served:
            _add_findings(version, entry.served[name], layers=layers)
    return message


def methods(served: ServedModel | None) -> list[method_pb2.Method]:
    """Describes every method, and whether a model can run it."""
    described = [describe_method(method) for method in METHODS.values()]
    if served is not None:
        for message in described:
            reason = obstacle(Abilities.of(METHODS[message.name]), served)
            message.availability.available = not reason
            message.availability.reason = reason
    return described


def _add_version(version: model_pb2.ModelVersion, entry: Entry, name: str, place: Place) -> None:
    known, reason = entry.version_state(name)
    state = STATES[known]
    version.identity.name, version.identity.version = entry.name, name
    version.state, version.reason = state, reason
    version.load_failure = entry.load_failures.get(name, "")
    if known is State.READY:
        version.load_time.FromNanoseconds(round(entry.load_times[name] * 1e9))
    if known is State.ELSEWHERE:
        return
    version.placements.add(worker=place.worker, device=place.device, state=state, reason=reason)


def _add_declared(
    version: model_pb2.ModelVersion, declared: Declaration, served: ServedModel | None
) -> None:
    """Adds what `model.toml` says, and what is known of it once the version is loaded."""
    version.inputs.extend(_input(each, served) for each in declared.inputs)
    version.outputs.extend(_output(each) for each in declared.outputs)
    version.limits.max_rows = declared.max_rows
    version.limits.max_examples = declared.max_examples
    version.presets.extend(_presets(declared, served))
    version.default_preset = DEFAULT_PRESET
    if declared.accuracy is not None:
        version.accuracy = declared.accuracy


def _add_findings(version: model_pb2.ModelVersion, served: ServedModel, *, layers: bool) -> None:
    """Adds what loading a version has found."""
    version.identity.CopyFrom(served.identity)
    version.checks.independent = served.checks.independent
    version.checks.differentiable = served.checks.differentiable
    for placement in version.placements:
        placement.variant = served.variant.name
    if layers:
        aliases = {name: alias for alias, name in served.loaded.declaration.layers.items()}
        version.layers.extend(
            model_pb2.ModelLayer(
                name=name,
                alias=aliases.get(name, ""),
                type=kind,
                shape=next(iter(served.checks.layer_shapes.get(Site(name), ())), ()),
            )
            for name, kind in served.modules.items()
        )


def _presets(
    declared: Declaration, served: ServedModel | None
) -> Iterable[explain_spec_pb2.Preset]:
    specs: Mapping[str, explain_spec_pb2.ExplainSpec]
    if served is None:
        specs = {name: each.spec for name, each in declared.presets.items()}
    else:
        specs = served.presets
    for name, spec in specs.items():
        written = declared.presets.get(name)
        description = "" if written is None else written.description
        yield explain_spec_pb2.Preset(name=name, description=description, spec=spec)


def _input(declared: InputDeclaration, served: ServedModel | None) -> model_pb2.ModelInput:
    background = None if served is None else served.loaded.backgrounds.get(declared.name)
    return model_pb2.ModelInput(
        name=declared.name,
        kind=INPUT_KINDS[declared.kind],
        datatype=declared.datatype,
        accepted_datatypes=accepted_datatypes(declared),
        shape=declared.shape,
        features=_features(declared, served),
        default_baseline=declared.default_baseline,
        baselines=declared.baselines,
        background_rows=0 if background is None else len(background),
        embedding_layer=declared.embedding,
    )


def accepted_datatypes(declared: InputDeclaration) -> tuple[str, ...]:
    """Returns the datatypes in which requests may send an input, the model's own first."""
    if declared.kind == "text":
        return ("BYTES",)
    if declared.kind == "image":
        return tuple(dict.fromkeys((declared.datatype, "UINT8", "BYTES")))
    return (declared.datatype,)


def _features(
    declared: InputDeclaration, served: ServedModel | None
) -> Iterable[model_pb2.Feature]:
    if declared.kind != "tabular":
        return
    statistics = () if served is None else served.statistics.get(declared.name, ())
    for index, name in enumerate(declared.features):
        feature = model_pb2.Feature(
            name=name,
            unit=declared.units[index] if declared.units else "",
            categories=declared.categories.get(name, ()),
        )
        known = statistics[index] if statistics else None
        if known is not None:
            feature.minimum, feature.maximum = known.minimum, known.maximum
            feature.mean, feature.standard_deviation = known.mean, known.standard_deviation
        yield feature


def _output(declared: OutputDeclaration) -> model_pb2.ModelOutput:
    return model_pb2.ModelOutput(
        name=declared.name,
        kind=OUTPUT_KINDS[declared.kind],
        datatype=declared.datatype,
        shape=declared.shape,
        labels=declared.labels,
    )
