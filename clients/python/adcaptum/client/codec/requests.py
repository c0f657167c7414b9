"""Requests as messages."""

from collections.abc import Mapping
from typing import Any, TypeVar

from adcaptum.client.codec.inputs import Inputs, write_inputs
from adcaptum.client.codec.specs import write_field
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.spec import ExplainOptions, Spec
from adcaptum.v1 import explanation_service_pb2, model_pb2

_ON_DEADLINE = {
    "fail": explanation_service_pb2.ON_DEADLINE_FAIL,
    "partial": explanation_service_pb2.ON_DEADLINE_PARTIAL,
}
_PRIORITIES = {
    "interactive": explanation_service_pb2.PRIORITY_INTERACTIVE,
    "batch": explanation_service_pb2.PRIORITY_BATCH,
}
_CACHES = {
    "use": explanation_service_pb2.CACHE_POLICY_USE,
    "bypass": explanation_service_pb2.CACHE_POLICY_BYPASS,
}
_Value = TypeVar("_Value")


def predict_request(
    model: str, inputs: Inputs, *, version: str | None, alias: str | None, max_labels: int | None
) -> explanation_service_pb2.PredictRequest:
    """Build a request for a prediction.

    Raises:
        InvalidRequest: The protocol cannot express the request.
    """
    request = explanation_service_pb2.PredictRequest()
    write_model(request.model, model, version, alias)
    write_inputs(request.inputs, inputs)
    if max_labels is not None:
        request.max_labels = max_labels
    return request


def explain_request(
    model: str, inputs: Inputs, options: ExplainOptions
) -> explanation_service_pb2.ExplainRequest:
    """Build a request for explanations.

    Raises:
        InvalidRequest: The protocol cannot express the request.
        TypeError: There is no such option.
    """
    request = explanation_service_pb2.ExplainRequest()
    write_model(request.model, model, options.get("version"), options.get("alias"))
    write_inputs(request.inputs, inputs)
    spec = options.get("spec")
    given: Mapping[str, Any] = options if spec is None else _merged(spec, options)
    for name, value in given.items():
        if value is None:
            continue
        match name:
            case "version" | "alias" | "spec":
                pass
            case "preset":
                request.preset = value
            case "on_deadline":
                request.on_deadline = _word(name, _ON_DEADLINE, value)
            case "priority":
                request.priority = _word(name, _PRIORITIES, value)
            case "cache":
                request.cache = _word(name, _CACHES, value)
            case _:
                write_field(request.spec, name, value)
    return request


def model_ref(
    name: str, version: str | None = None, alias: str | None = None
) -> model_pb2.ModelRef:
    """Encode the reference to a model.

    Raises:
        InvalidRequest: Both a version and an alias are given.
    """
    ref = model_pb2.ModelRef()
    write_model(ref, name, version, alias)
    return ref


def write_model(
    into: model_pb2.ModelRef, name: str, version: str | None = None, alias: str | None = None
) -> None:
    """Write the reference to a model into an empty message.

    Raises:
        InvalidRequest: Both a version and an alias are given.
    """
    into.name = name
    if version is not None and alias is not None:
        raise InvalidRequest("model: give a version or an alias, not both")
    if version is not None:
        into.version = version
    elif alias is not None:
        into.alias = alias


def _merged(spec: Spec, options: ExplainOptions) -> dict[str, Any]:
    """Return the fields of a question, replaced by the options that are given."""
    merged = {name: getattr(spec, name) for name in Spec.__dataclass_fields__}
    merged.update((name, value) for name, value in options.items() if value is not None)
    return merged


def _word(option: str, words: Mapping[str, _Value], word: str) -> _Value:
    if word not in words:
        allowed = " nor ".join(map(repr, words))
        raise InvalidRequest(f"{option}: {word!r} is neither {allowed}")
    return words[word]
