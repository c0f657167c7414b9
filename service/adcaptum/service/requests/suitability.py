"""Checks of methods against models, and of requests against methods."""

from dataclasses import replace
from typing import Any, cast

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.parameters import describe
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.baselines import Baselines
from adcaptum.service.wire.abilities import NEURON, Abilities
from adcaptum.service.wire.method_specs import ResolvedMethod


def obstacle(method: Abilities, model: ServedModel) -> str:
    """Returns the reason why a model cannot run a method; empty if it can."""
    if method.gradient and not model.checks.differentiable:
        return f"it needs gradients, and {model.checks.obstacle}"
    if needs_layer(method.layer) and not model.modules:
        return "it needs a layer, and the model has none"
    if model.loaded.text is not None and not method.alone:
        return "it compares examples with each other, and texts are explained one by one"
    if model.embedding is not None and _changes_inputs(method):
        return (
            "it needs inputs that can change little by little, and those of this model are whole "
            f"numbers, which are explained at the layer {model.embedding.named}"
        )
    return ""


def _changes_inputs(method: Abilities) -> bool:
    if method.layer == "never":
        return method.gradient
    # A method of layers that compares inputs evaluates inputs between the two.
    return method.layer == "through" or (method.layer == "required" and method.baseline)


def check_layer(method: Abilities, layer: Site | None, model: ServedModel) -> None:
    """Raises `InvalidRequest` if a method needs a layer and has none, or takes none and has one."""
    if layer is None and needs_layer(method.layer):
        raise InvalidRequest(
            "layer",
            f"missing; {method.name} needs one: {model.some_layers()}",
        )
    if layer is not None and method.layer == "never":
        raise InvalidRequest(
            "layer",
            f"{layer.named}; {method.name} explains inputs only, and none of {model.some_layers()}",
        )


def check_baselines(
    method: Abilities, baselines: Baselines, starts: Baselines | None, count: int
) -> None:
    """Raises `InvalidRequest` if a method does not accept the baselines.

    Args:
        method: The method.
        baselines: The baselines of the inputs.
        starts: The baselines of the layer's values, if the request has any.
        count: The number of examples.
    """
    if starts is not None and not method.starts:
        compared = "the inputs" if method.baseline else "nothing"
        raise InvalidRequest("layer_baselines", f"given; {method.name} compares {compared}")
    given = starts or baselines
    if given.distribution and method.baseline and not method.background:
        able = ", ".join(name for name, each in METHODS.items() if each.traits.background)
        raise InvalidRequest(
            given.distribution,
            f"{given.rows} rows; {method.name} compares each example with one baseline: there "
            f"must be 1, or a tensor of {count}, one for each. Distributions are for {able}",
        )


def by_way_of(neuron: Neuron, method: ResolvedMethod, layer: Site | None) -> ResolvedMethod:
    """Returns a method with the neuron through which it explains an output.

    Raises:
        InvalidRequest: The method explains through no neuron, or has a neuron or a layer already;
            or the neuron is a block.
    """
    known = {parameter.name for parameter in describe(type(method.method))}
    name = method.abilities.name
    if NEURON not in known:
        raise InvalidRequest(
            "neuron",
            f"given with {name}, which explains the neuron, and others an output through it",
        )
    if layer is not None:
        raise InvalidRequest("layer", f"{layer.named}; must be unset: the neuron names the layer")
    if NEURON in method.spec.params:
        raise InvalidRequest("neuron", f"given beside the parameter {NEURON} of {name}")
    if not neuron.one:
        raise InvalidRequest("neuron.end", f"given; {name} takes a single neuron, or all of them")
    # Every method is a frozen dataclass, which its protocol cannot say.
    return ResolvedMethod.of(replace(cast("Any", method.method), neuron=neuron.index))
