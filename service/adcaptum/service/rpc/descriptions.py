"""Messages that describe models and methods."""

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.evaluation import Site
from adcaptum.service.models.catalogue import Entry, State, version_name
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.layouts.variants import ModelVariant
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.suitability import obstacle
from adcaptum.service.wire.abilities import Abilities
from adcaptum.service.wire.method_specs import describe_method
from adcaptum.v1 import method_pb2, model_pb2

STATES = {
    State.LOADING: model_pb2.MODEL_STATE_LOADING,
    State.READY: model_pb2.MODEL_STATE_READY,
    State.UNAVAILABLE: model_pb2.MODEL_STATE_UNAVAILABLE,
}


def model(
    entry: Entry, reference: model_pb2.ModelRef | None, device: str, *, layers: bool
) -> model_pb2.Model:
    """Describes a model.

    Args:
        entry: The model.
        reference: The version; None: the default version.
        device: The device that it runs on.
        layers: Whether to list them.

    Raises:
        NotFound: There is no such version.
    """
    message = model_pb2.Model(
        identity=model_pb2.ModelIdentity(name=entry.name),
        state=STATES[entry.state],
        reason=entry.reason,
        device=device,
    )
    stored = entry.stored
    if stored is None:
        return message
    declaration = stored.declaration
    version = version_name(stored, reference or model_pb2.ModelRef())
    message.identity.version = version
    message.versions.extend(stored.versions)
    message.aliases.update(declaration.aliases)
    message.description = declaration.description
    message.default_method = declaration.default_method
    message.max_rows = declaration.max_rows
    message.max_examples = declaration.max_examples
    message.outputs.extend(
        model_pb2.ModelOutput(
            name=each.name,
            datatype=each.datatype,
            shape=each.shape,
            labels=each.labels,
            kind=each.kind,
        )
        for each in declaration.outputs
    )
    served = entry.served.get(version)
    message.inputs.extend(_input(each, served) for each in declaration.inputs)
    if served is not None:
        _add_findings(message, served, layers=layers)
    return message


def methods(served: ServedModel | None) -> list[method_pb2.Method]:
    """Describes every method, and whether a model can run it."""
    described = [describe_method(method) for method in METHODS.values()]
    if served is not None:
        for message in described:
            message.reason = obstacle(Abilities.of(METHODS[message.name]), served)
            message.available = not message.reason
    return described


def _input(declared: InputDeclaration, served: ServedModel | None) -> model_pb2.ModelInput:
    background = None if served is None else served.loaded.backgrounds.get(declared.name)
    return model_pb2.ModelInput(
        name=declared.name,
        datatype=declared.datatype,
        shape=declared.shape,
        kind=declared.kind,
        features=declared.features,
        units=declared.units,
        default_baseline=declared.default_baseline,
        baselines=declared.baselines,
        background_rows=0 if background is None else len(background),
        embedding=declared.embedding,
    )


def _variant(variant: ModelVariant) -> model_pb2.ModelLayout:
    return model_pb2.ModelLayout(
        name=variant.name,
        output_distance=variant.distance.outputs,
        gradient_distance=variant.distance.gradients,
        own_output_rounding=variant.trials.rounding.outputs,
        own_gradient_rounding=variant.trials.rounding.gradients,
        rows_per_second=variant.trials.rows_per_second,
        failures=variant.trials.failures,
    )


def _add_findings(message: model_pb2.Model, served: ServedModel, *, layers: bool) -> None:
    message.identity.CopyFrom(served.identity)
    message.checks.independent = served.checks.independent
    message.checks.differentiable = served.checks.differentiable
    message.layout.CopyFrom(_variant(served.variant))
    accuracy = served.loaded.declaration.accuracy
    if accuracy is not None:
        message.checks.accuracy = accuracy
    if layers:
        aliases = {name: alias for alias, name in served.loaded.declaration.layers.items()}
        message.layers.extend(
            model_pb2.ModelLayer(
                name=name,
                alias=aliases.get(name, ""),
                type=kind,
                shape=next(iter(served.checks.layer_shapes.get(Site(name), ())), ()),
            )
            for name, kind in served.modules.items()
        )
