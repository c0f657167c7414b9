"""Checks of methods against models, and of requests against methods."""

from dataclasses import replace
from typing import Any, cast

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import describe
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.baselines import Baselines
from adcaptum.service.wire.abilities import NEURON, Abilities
from adcaptum.service.wire.method_specs import ResolvedMethod


def obstacle(method: Abilities, model: ServedModel) -> str:
    """Returns the reason why a model cannot run a method; empty if it can."""
    if method.gradient and not model.checks.differentiable:
        return f"it needs gradients, and {model.checks.obstacle}"
    if method.operations and model.loaded.opaque:
        loader = model.loaded.declaration.loader
        return f"it changes the backward pass of operations, which a {loader} model hides"
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


def check_site(method: Abilities, layer: Site | None, model: ServedModel) -> None:
    """Raises `InvalidRequest` if a method needs a layer and has none, or takes none and has one."""
    named = method.through or method.layer == "never"
    if layer is None and needs_layer(method.layer) and not named:
        raise InvalidRequest(
            "spec.site.layer",
            f"missing; {method.name} needs one: {model.some_layers()}",
        )
    if layer is not None and named:
        instead = "the layer is `through`'s" if method.through else f"none of {model.some_layers()}"
        raise InvalidRequest(
            "spec.site.layer", f"{layer.named}; {method.name} explains inputs only: {instead}"
        )


def check_through(method: Abilities, neuron: Neuron | None, model: ServedModel) -> None:
    """Raises `InvalidRequest` if a method goes through a neuron and has none, or the reverse."""
    if neuron is None and method.through:
        raise InvalidRequest(
            "spec.through",
            f"missing; {method.name} explains through a neuron of a layer: {model.some_layers()}",
        )
    if neuron is not None and not method.through:
        able = [name for name, known in METHODS.items() if Abilities.of(known).through]
        raise InvalidRequest(
            "spec.through", f"given; {method.name} takes none. Those that do: {', '.join(able)}"
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
        raise InvalidRequest("spec.site.baselines", f"given; {method.name} compares {compared}")
    given = starts or baselines
    if given.distribution and method.baseline and not method.background:
        able = ", ".join(name for name, each in METHODS.items() if each.traits.background)
        raise InvalidRequest(
            given.distribution,
            f"a distribution of {given.rows} row{'s' * (given.rows > 1)}; {method.name} compares "
            f"each example with one baseline: must be a `tensor` of 1 row, or of {count}, one per "
            f"example. Distributions are for {able}",
        )


def through(neuron: Neuron, method: ResolvedMethod) -> ResolvedMethod:
    """Returns a method that explains through a neuron; its message does not change."""
    return replace(method, method=_with_neuron(method.method, neuron))


def _with_neuron(method: Method, neuron: Neuron) -> Method:
    """Gives a neuron to a method, or to those inside it."""
    changed: dict[str, Any] = {}
    for each in describe(type(method)):
        value = getattr(method, each.name)
        if each.name == NEURON:
            changed[NEURON] = neuron.index
        elif isinstance(value, Method):
            changed[each.name] = _with_neuron(value, neuron)
    # Every method is a frozen dataclass, which its protocol cannot say.
    made: Method = replace(cast("Any", method), **changed)
    return made
