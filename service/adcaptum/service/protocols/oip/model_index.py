"""The list of models, virtual ones among them."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Final, NamedTuple

from adcaptum.service.protocols.oip.values.model_names import ModelName
from adcaptum.v1 import explain_spec_pb2, method_pb2, model_pb2

READY: Final = "READY"
LOADING: Final = "LOADING"
UNAVAILABLE: Final = "UNAVAILABLE"
STATES: Final = {
    model_pb2.MODEL_STATE_READY: READY,
    model_pb2.MODEL_STATE_LOADING: LOADING,
}
"""The protocol's states; all others are UNAVAILABLE."""

MOST_FEATURES: Final = "max_features"
"""The parameter of methods that take few features, with their number."""

NEED_LAYER: Final = (
    method_pb2.SITE_USE_LAYER_REQUIRED,
    method_pb2.SITE_USE_INPUTS_WITH_LAYER,
)


class IndexEntry(NamedTuple):
    """A version of a model in the list."""

    name: str
    version: str
    state: str
    reason: str


def entry(model: model_pb2.Model, version: model_pb2.ModelVersion) -> IndexEntry:
    """Lists a version of a model."""
    state = STATES.get(version.state, UNAVAILABLE)
    return IndexEntry(model.name, version.identity.version, state, version.reason)


def virtual(version: model_pb2.ModelVersion, methods: Sequence[method_pb2.Method]) -> Iterator[str]:
    """Yields the names of the virtual models of a version that serves.

    Those are listed that answer without further options; others can be asked with them.

    Args:
        version: The version.
        methods: All methods, with whether the model can run them.
    """
    name = version.identity.name
    presets = {each.name: each.spec for each in version.presets}
    default = presets.get(version.default_preset, explain_spec_pb2.ExplainSpec())
    available = {each.name: each for each in methods if each.availability.available}
    for method in available.values():
        if answers(method, default) and not _has_too_many(version, method, default):
            yield str(ModelName(name, method.name))
    for preset, spec in presets.items():
        if all(each.name in available for each in spec.methods):
            yield str(ModelName(name, preset))


def answers(method: method_pb2.Method, spec: explain_spec_pb2.ExplainSpec) -> bool:
    """Returns whether a method answers a question that was written for another one."""
    has_layer, needs_layer = bool(spec.site.layer), method.site_use in NEED_LAYER
    if needs_layer != has_layer and method.site_use != method_pb2.SITE_USE_LAYER_OPTIONAL:
        return False
    if method.accepts_neuron != spec.HasField("through"):
        return False
    if spec.budget.HasField("tolerance") and not method.accepts_tolerance:
        return False
    if spec.feature_masks and not method.accepts_feature_masks:
        return False
    draws = any(
        each.WhichOneof("kind") in ("distribution", "background") for each in spec.baselines
    )
    return method.accepts_distribution or not draws or not method.uses_baseline


def _has_too_many(
    version: model_pb2.ModelVersion,
    method: method_pb2.Method,
    spec: explain_spec_pb2.ExplainSpec,
) -> bool:
    """Returns whether a model has more features than a method takes without masks."""
    most = next((each for each in method.parameters if each.name == MOST_FEATURES), None)
    if most is None or spec.feature_masks:
        return False
    features = sum(prod(each.shape[1:]) for each in version.inputs)
    # Lengths that may be any, as of texts, are negative.
    return features > most.default_value.number_value
