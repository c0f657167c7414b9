"""Descriptions of models -> metadata of the protocol, of virtual models, too."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from adcaptum.service.protocols.oip.answers import prefix
from adcaptum.service.protocols.oip.values import output_names as names
from adcaptum.v1 import explain_spec_pb2, method_pb2, model_pb2

PLATFORM: Final = "adcaptum"
ANY: Final = -1

TO_PAIRS: Final = frozenset({"shapley_interactions"})
"""The methods whose contributions are those of pairs."""


class TensorForm(NamedTuple):
    """The form of an input or output; lengths are -1 where they may be any."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The protocol's view of a model.

    Attributes:
        name: Its name, that of a virtual model as it was asked for.
        versions: Its versions.
        inputs: Its inputs.
        outputs: Its outputs, but for those that come only where they are asked for, or where there
            is something to tell.
        properties: Further facts by name.
        max_examples: The most examples of a request.
        decoupled: Whether a stream may have several replies to a request.
    """

    name: str
    versions: Sequence[str]
    inputs: Sequence[TensorForm]
    outputs: Sequence[TensorForm]
    properties: dict[str, str]
    max_examples: int
    decoupled: bool


def of_model(model: model_pb2.Model, version: model_pb2.ModelVersion) -> ModelMetadata:
    """Describes a model that predicts."""
    outputs = [TensorForm(each.name, each.datatype, tuple(each.shape)) for each in version.outputs]
    return _metadata(model.name, model, version, outputs, decoupled=False)


def of_explanation(
    name: str,
    model: model_pb2.Model,
    version: model_pb2.ModelVersion,
    spec: explain_spec_pb2.ExplainSpec,
    methods: Sequence[method_pb2.Method],
) -> ModelMetadata:
    """Describes a virtual model, which explains.

    Args:
        name: Its name.
        model: The model that it explains.
        version: The version.
        spec: Its question.
        methods: The methods of the question.
    """
    outputs: list[TensorForm] = []
    seen: dict[str, int] = {}
    for method in methods:
        count = seen[method.name] = seen.get(method.name, 0) + 1
        begin = prefix(method.name, count, len(methods))
        outputs += (
            TensorForm(begin + each.name, each.datatype, each.shape)
            for each in _of_method(version, spec, method)
        )
    outputs += _tokens(version)
    return _metadata(name, model, version, outputs, decoupled=True)


def _metadata(
    name: str,
    model: model_pb2.Model,
    version: model_pb2.ModelVersion,
    outputs: Sequence[TensorForm],
    *,
    decoupled: bool,
) -> ModelMetadata:
    return ModelMetadata(
        name,
        [each.identity.version for each in model.versions],
        [_input(each) for each in version.inputs],
        outputs,
        _properties(model, version),
        version.limits.max_examples,
        decoupled,
    )


def _input(declared: model_pb2.ModelInput) -> TensorForm:
    if declared.kind == model_pb2.INPUT_KIND_TEXT:
        return TensorForm(declared.name, "BYTES", (ANY,))
    return TensorForm(declared.name, declared.datatype, tuple(declared.shape))


def _of_method(
    version: model_pb2.ModelVersion,
    spec: explain_spec_pb2.ExplainSpec,
    method: method_pb2.Method,
) -> Iterator[TensorForm]:
    batch = (ANY, ANY) if _has_several(spec.targets) else (ANY,)
    datatype = spec.output.datatype or "FP32"
    takes_layer = method.site_use in (
        method_pb2.SITE_USE_LAYER_REQUIRED,
        method_pb2.SITE_USE_LAYER_OPTIONAL,
    )
    if method.name in TO_PAIRS:
        yield TensorForm(names.INTERACTIONS, datatype, (*batch, ANY, ANY))
        yield TensorForm(names.FEATURES, "BYTES", (*batch, ANY))
    elif takes_layer and (spec.site.layer or method.site_use == method_pb2.SITE_USE_LAYER_REQUIRED):
        yield TensorForm(names.LAYER, datatype, (*batch, *_layer_lengths(version, spec.site.layer)))
    else:
        for declared in version.inputs:
            lengths = _lengths(declared, spec, method)
            if spec.output.HasField("max_features"):
                lengths = (ANY,)
                yield TensorForm(names.INDICES + declared.name, "INT64", (*batch, ANY))
            yield TensorForm(names.ATTRIBUTIONS + declared.name, datatype, (*batch, *lengths))
    index = len(version.outputs[0].shape) - 1 if version.outputs else 0
    yield TensorForm(names.INDEX, "INT64", (*batch, index) if index > 1 else batch)
    yield TensorForm(names.LABEL, "BYTES", batch)
    # The others come where a method gives them, which its description does not tell.
    yield TensorForm(names.OUTPUT, "FP64", batch)
    if spec.budget.HasField("tolerance"):
        yield TensorForm(names.RELATIVE, "FP64", batch)


def _lengths(
    declared: model_pb2.ModelInput,
    spec: explain_spec_pb2.ExplainSpec,
    method: method_pb2.Method,
) -> tuple[int, ...]:
    """Returns the lengths of an input's attributions without the batch."""
    lengths = tuple(declared.shape)[1:]
    if declared.kind == model_pb2.INPUT_KIND_TEXT:
        return (ANY,)
    if declared.embedding_layer and method.needs_gradients:
        # At the embedding, whose components are one more dimension.
        return (*lengths, ANY)
    sums = spec.output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
    if sums and declared.kind == model_pb2.INPUT_KIND_IMAGE:
        return lengths[1:]
    return lengths


def _layer_lengths(version: model_pb2.ModelVersion, layer: str) -> tuple[int, ...]:
    for each in version.layers:
        if layer and layer in (each.name, each.alias):
            # Class activation maps have other lengths than the layer, but as many.
            return (ANY,) * len(each.shape)
    return (ANY,)


def _tokens(version: model_pb2.ModelVersion) -> Iterator[TensorForm]:
    for declared in version.inputs:
        if declared.kind == model_pb2.INPUT_KIND_TEXT:
            yield TensorForm(names.TOKENS + declared.name, "BYTES", (ANY, ANY))


def _has_several(targets: Sequence[explain_spec_pb2.Target]) -> bool:
    return len(targets) > 1 or any(
        each.WhichOneof("kind") == "all" or (each.WhichOneof("kind") == "top_k" and each.top_k > 1)
        for each in targets
    )


def _properties(model: model_pb2.Model, version: model_pb2.ModelVersion) -> dict[str, str]:
    """Returns what clients may want to show beside the tensors."""
    found = {"description": model.description, "digest": version.identity.digest}
    for each in version.inputs:
        found[f"inputs.{each.name}.accepted_datatypes"] = json.dumps([*each.accepted_datatypes])
        if each.features:
            columns = [feature.name for feature in each.features]
            found[f"inputs.{each.name}.features"] = json.dumps(columns)
    for output in version.outputs:
        if output.labels:
            found[f"outputs.{output.name}.labels"] = json.dumps([*output.labels])
    return {name: value for name, value in found.items() if value}
