"""Whether a method suits a model, and what a request gives suits a method."""

from adcaptum.engine.evaluation import Site
from adcaptum.engine.methods import METHODS
from adcaptum.service.abilities import Abilities
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.references import Compared
from adcaptum.service.served_model import ServedModel


def obstacle(method: Abilities, model: ServedModel) -> str:
    """Says why a model cannot run a method; nothing if it can."""
    if method.gradient and not model.checks.differentiable:
        return f"it needs gradients, and {model.checks.obstacle}"
    if method.layer == "required" and not model.modules:
        return "it explains a layer, and the model has none"
    if method.layer == "never" and method.gradient and model.embedding is not None:
        return (
            "it explains inputs only, and those of this model have gradients at the layer "
            f"{model.embedding.named} only"
        )
    return ""


def check_layer(method: Abilities, layer: Site | None, model: ServedModel) -> None:
    """Raises `InvalidRequest` if a method needs a layer and has none, or the other way round."""
    if layer is None and method.layer == "required":
        raise InvalidRequest(
            "layer",
            f"missing; {method.name} explains a layer: {model.some_layers()}",
        )
    if layer is not None and method.layer == "never":
        raise InvalidRequest(
            "layer",
            f"{layer.named}; {method.name} explains inputs only, and none of {model.some_layers()}",
        )


def check_baselines(
    method: Abilities, baselines: Compared, starts: Compared | None, count: int
) -> None:
    """Raises `InvalidRequest` if a method cannot compare with what a request gives.

    Args:
        method: The method.
        baselines: What the inputs are compared with.
        starts: What the layer's values are compared with, if the request says.
        count: How many examples there are.
    """
    if starts is not None and not method.baseline:
        raise InvalidRequest("layer_baselines", f"given; {method.name} compares with no baseline")
    given = starts or baselines
    if given.distribution and method.baseline and not method.background:
        able = ", ".join(name for name, each in METHODS.items() if each.background)
        raise InvalidRequest(
            given.distribution,
            f"{given.rows} rows; {method.name} compares each example with one baseline: there "
            f"must be 1, or a tensor of {count}, one for each. Distributions are for {able}",
        )
