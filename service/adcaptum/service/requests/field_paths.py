"""Paths of request fields for the arguments that the engine's errors name."""

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.vocabulary.evaluation import Neuron
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened
from adcaptum.service.requests.questions.question import Question


def invalid_request(
    error: InvalidArgument, question: Question, method: int, target: int | None = None
) -> InvalidRequest:
    """Returns an error of the engine as one of the request.

    Args:
        error: The engine's error.
        question: The request's question.
        method: The place of the method that raised it.
        target: The place of the explained number, with `top_k` and `all` spread out; None: it does
            not matter.
    """
    path = _path(error.field, question, method, target)
    return InvalidRequest(path, f"{shortened(error.value)}: {error.allowed}")


def _path(argument: str, question: Question, method: int, target: int | None) -> str:
    through = question.methods[method].abilities.through
    at_layer = question.layer is not None
    of_target = "spec.targets"
    if target is not None:
        of_target += f"[{question.targets.origins[target]}]"
        if isinstance(question.targets.numbers[target], Neuron):
            of_target += ".neuron.index"
    paths = {
        "inputs": "inputs",
        "baselines": "spec.baselines",
        "layer_baselines": "spec.site.baselines",
        "feature_mask": "spec.site.feature_masks" if at_layer else "spec.feature_masks",
        "layer": "spec.through.layer" if through else "spec.site.layer",
        "neuron": "spec.through.index" if through else of_target,
        "target": of_target,
        "tolerance": "spec.budget.tolerance",
    }
    name, bracket, place = argument.partition("[")
    if name in paths:
        return f"{paths[name]}{bracket}{place}"
    return f"spec.methods[{method}].params.{argument}"
