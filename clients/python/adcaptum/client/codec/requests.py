"""Encoding of requests."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from adcaptum.client.baseline import Baseline, Baselines, Blur, Samples
from adcaptum.client.codec.inputs import Inputs, as_array, encode_inputs
from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.method import Method, ParameterValue
from adcaptum.client.site import Layer, Neuron
from adcaptum.client.target import AllTargets, Target, TopK
from adcaptum.v1 import explanation_pb2, explanation_service_pb2, method_pb2, model_pb2, tensor_pb2

Methods: TypeAlias = str | Method | Sequence[str | Method] | None
Masks: TypeAlias = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | None
LayerBaselines: TypeAlias = float | npt.NDArray[Any] | Sequence[float | npt.NDArray[Any]] | None

_ON_DEADLINE = {
    None: explanation_pb2.ON_DEADLINE_UNSPECIFIED,
    "fail": explanation_pb2.ON_DEADLINE_FAIL,
    "partial": explanation_pb2.ON_DEADLINE_PARTIAL,
}
_PRIORITIES = {
    None: explanation_pb2.PRIORITY_UNSPECIFIED,
    "interactive": explanation_pb2.PRIORITY_INTERACTIVE,
    "batch": explanation_pb2.PRIORITY_BATCH,
}
_CACHES = {
    None: explanation_pb2.CACHE_UNSPECIFIED,
    "use": explanation_pb2.CACHE_USE,
    "bypass": explanation_pb2.CACHE_BYPASS,
}
_Value = TypeVar("_Value")


class ExplainOptions(TypedDict, total=False):
    """Options of an explanation besides the model and its inputs.

    Attributes:
        version: The version that answers; by default the model's default version.
        alias: The alias of the version that answers.
        target: The outputs to explain: None for the largest, the number or label of a class,
            numbers for one class per example, ``TopK(k)`` or ``AllTargets()``.
        method: One or several methods, by name or as ``Method``; by default the model's default.
        params: The parameters of the method, for a single method given by name.
        baselines: The baselines, for all inputs or by input.
        feature_masks: For all inputs or by input, an integer array of the input's shape with a
            batch of one; elements with the same number are one feature.
        layer: Explain this layer's values instead of the inputs; feature masks are then of its
            shape.
        layer_baselines: Baselines of the layer's values, instead of the layer's values at
            ``baselines``: a number, or an array of the layer's shape; a sequence of them for a
            layer of several tensors.
        neuron: Explain this neuron, or the sum of a block of them, instead of an output. For
            methods with a parameter of this name, such as neuron_conductance: the neuron through
            which the target is explained.
        max_rows: The largest number of rows (evaluations of the model on one input) to use.
        tolerance: Allowed relative error, such as 0.05: the sum of the errors of an explanation
            over the sum of its magnitudes. Methods that estimate continue until they reach it or
            have used max_rows.
        on_deadline: Behaviour at the timeout: fail, or partial for the best answer so far; by
            default ``explain`` without a tolerance fails, everything else answers.
        sum_channels: Sum attributions over the channels of an image.
        top_features: Number of features to keep per input, largest magnitude first.
        datatype: The datatype of attributions: FP32 (the default), FP64 or FP16.
        return_inputs: Also return the inputs after preprocessing.
        return_outputs: Also return the model's outputs.
        return_predictions: Return predictions, for models with labels; by default they come where
            they cost nothing: where the targets depend on them, and with several methods.
        top_k: Number of labels of a prediction; by default 5.
        seed: Seed of sampling methods; equal seeds give equal answers.
        priority: interactive (the default), or batch: run only while no interactive request needs
            the device.
        cache: use (the default): the answer may come from another, identical request; or bypass.
        deterministic: Return the same bits each time, whatever else runs; slower.
    """

    version: str | None
    alias: str | None
    target: Target
    method: Methods
    params: Mapping[str, ParameterValue] | None
    baselines: Baselines
    feature_masks: Masks
    layer: str | Layer | None
    layer_baselines: LayerBaselines
    neuron: Neuron | None
    max_rows: int | None
    tolerance: float | None
    on_deadline: Literal["fail", "partial"] | None
    sum_channels: bool
    top_features: int | None
    datatype: str | None
    return_inputs: bool
    return_outputs: bool
    return_predictions: bool | None
    top_k: int | None
    seed: int
    priority: Literal["interactive", "batch"] | None
    cache: Literal["use", "bypass"] | None
    deterministic: bool


def predict_request(
    model: str, inputs: Inputs, *, version: str | None, alias: str | None, top_k: int
) -> explanation_service_pb2.PredictRequest:
    """Build a request for a prediction.

    Raises:
        InvalidRequest: The protocol cannot express the request.
    """
    return explanation_service_pb2.PredictRequest(
        model=model_ref(model, version, alias), inputs=encode_inputs(inputs), top_k=top_k
    )


def explain_request(
    model: str, inputs: Inputs, options: ExplainOptions
) -> explanation_service_pb2.ExplainRequest:
    """Build a request for explanations.

    Raises:
        InvalidRequest: The protocol cannot express the request.
    """
    if unknown := options.keys() - ExplainOptions.__annotations__.keys():
        raise TypeError(f"there are no options {', '.join(sorted(unknown))}")
    layer, neuron = options.get("layer"), options.get("neuron")
    return explanation_service_pb2.ExplainRequest(
        model=model_ref(model, options.get("version"), options.get("alias")),
        inputs=encode_inputs(inputs),
        target=encode_target(options.get("target")),
        methods=_encode_methods(options.get("method"), options.get("params")),
        baselines=_encode_baselines(options.get("baselines")),
        feature_masks=_encode_masks(options.get("feature_masks")),
        layer=None if layer is None else _encode_layer(layer),
        layer_baselines=_encode_layer_baselines(options.get("layer_baselines")),
        neuron=None if neuron is None else _encode_neuron(neuron),
        budget=_encode_budget(options),
        output=_encode_output_options(options),
        seed=options.get("seed", 0),
        priority=_word("priority", _PRIORITIES, options.get("priority")),
        cache=_word("cache", _CACHES, options.get("cache")),
        deterministic=options.get("deterministic", False),
    )


def model_ref(
    name: str, version: str | None = None, alias: str | None = None
) -> model_pb2.ModelRef:
    """Encode the reference to a model.

    Raises:
        InvalidRequest: Both a version and an alias are given.
    """
    if version is not None and alias is not None:
        raise InvalidRequest("model: give a version or an alias, not both")
    if version is not None:
        return model_pb2.ModelRef(name=name, version=version)
    if alias is not None:
        return model_pb2.ModelRef(name=name, alias=alias)
    return model_pb2.ModelRef(name=name)


def encode_target(target: Target) -> explanation_pb2.Target | None:
    """Encode the target; None for the largest output.

    Raises:
        InvalidRequest: It is not a target.
    """
    match target:
        case None:
            return None
        case AllTargets():
            return explanation_pb2.Target(all=explanation_pb2.AllTargets())
        case str() if target == "all":
            return explanation_pb2.Target(all=explanation_pb2.AllTargets())
        case str():
            return explanation_pb2.Target(label=target)
        case TopK(k):
            return explanation_pb2.Target(top_k=k)
    indices = np.asarray(target)
    if indices.dtype.kind not in "iu" or indices.size == 0:
        raise InvalidRequest(f"target: {target!r} is neither a class's number nor its label")
    return explanation_pb2.Target(
        indices=explanation_pb2.TargetIndices(values=indices.ravel().tolist())
    )


def encode_method(method: str | Method) -> method_pb2.MethodSpec:
    """Encode a method with its parameters.

    Raises:
        InvalidRequest: A parameter has an unknown type.
    """
    if isinstance(method, str):
        return method_pb2.MethodSpec(name=method)
    params = {name: _encode_parameter(name, value) for name, value in method.params.items()}
    return method_pb2.MethodSpec(name=method.name, params=params)


def _encode_methods(
    methods: Methods, params: Mapping[str, ParameterValue] | None
) -> list[method_pb2.MethodSpec]:
    if params:
        if not isinstance(methods, str):
            raise InvalidRequest("params: they need a single method, given by its name")
        methods = Method(methods, **params)
    if methods is None:
        return []
    several = [methods] if isinstance(methods, str | Method) else methods
    return [encode_method(each) for each in several]


def _encode_parameter(name: str, value: ParameterValue) -> method_pb2.ParameterValue:
    match value:
        case bool() | np.bool_():  # before integers: True is one
            return method_pb2.ParameterValue(flag=bool(value))
        case int() | np.integer():
            return method_pb2.ParameterValue(integer=int(value))
        case float() | np.floating():
            return method_pb2.ParameterValue(number=float(value))
        case str():
            return method_pb2.ParameterValue(text=value)
        case Method():
            return method_pb2.ParameterValue(method=encode_method(value))
    integers = np.asarray(value)
    if integers.ndim != 1 or integers.dtype.kind not in "iu":
        raise InvalidRequest(f"params.{name}: {value!r} is not what a parameter can be")
    return method_pb2.ParameterValue(integers=method_pb2.IntegerList(values=integers.tolist()))


def _encode_baselines(baselines: Baselines) -> list[explanation_pb2.Baseline]:
    if baselines is None:
        return []
    named = baselines if isinstance(baselines, Mapping) else {"": baselines}
    return [_encode_baseline(name, value) for name, value in named.items()]


def _encode_layer_baselines(baselines: LayerBaselines) -> list[explanation_pb2.Baseline]:
    if baselines is None:
        return []
    several = baselines if isinstance(baselines, Sequence) else [baselines]
    encoded = [_encode_baseline("", each) for each in several]
    if wrong := {each.WhichOneof("kind") for each in encoded} - {"zero", "constant", "tensor"}:
        raise InvalidRequest(
            f"layer_baselines: {', '.join(map(str, wrong))} is of inputs; give numbers or arrays"
        )
    return encoded


def _encode_baseline(name: str, value: Baseline) -> explanation_pb2.Baseline:
    match value:
        case str() if value == "zero":
            return explanation_pb2.Baseline(input=name, zero=explanation_pb2.Zero())
        case str():
            return explanation_pb2.Baseline(input=name, named=value)
        case Blur(sigma):
            return explanation_pb2.Baseline(input=name, blur=explanation_pb2.Blur(sigma=sigma))
        case Samples(count):
            samples = explanation_pb2.Samples(count=count)
            return explanation_pb2.Baseline(input=name, samples=samples)
    array = np.asarray(value)
    if array.ndim == 0:
        return explanation_pb2.Baseline(input=name, constant=float(array))
    tensor = encode_tensor(as_array(array), name)
    return explanation_pb2.Baseline(input=name, tensor=tensor)


def _encode_masks(masks: Masks) -> list[tensor_pb2.Tensor]:
    if masks is None:
        return []
    named = masks if isinstance(masks, Mapping) else {"": masks}
    return [encode_tensor(as_array(mask), name) for name, mask in named.items()]


def _encode_layer(layer: str | Layer) -> explanation_pb2.Layer:
    place = Layer(layer) if isinstance(layer, str) else layer
    return explanation_pb2.Layer(name=place.name, input=place.input)


def _encode_neuron(neuron: Neuron) -> explanation_pb2.Neuron:
    index = neuron.index if isinstance(neuron.index, tuple) else (neuron.index,)
    spans = [each if isinstance(each, slice) else slice(each, each + 1) for each in index]
    for span in spans:
        if span.stop is None or span.step not in {None, 1}:
            raise InvalidRequest(f"neuron: {span} does not say where it ends, or leaves gaps")
    begin = [span.start or 0 for span in spans]
    block = any(isinstance(each, slice) for each in index)
    end = [span.stop for span in spans] if block else []
    return explanation_pb2.Neuron(layer=_encode_layer(neuron.layer), index=begin, end=end)


def _encode_budget(options: ExplainOptions) -> explanation_pb2.Budget:
    return explanation_pb2.Budget(
        max_rows=options.get("max_rows") or 0,
        on_deadline=_word("on_deadline", _ON_DEADLINE, options.get("on_deadline")),
        tolerance=options.get("tolerance") or 0.0,
    )


def _word(option: str, words: Mapping[str | None, _Value], word: str | None) -> _Value:
    if word not in words:
        allowed = " nor ".join(repr(each) for each in words if each is not None)
        raise InvalidRequest(f"{option}: {word!r} is neither {allowed}")
    return words[word]


def _encode_output_options(options: ExplainOptions) -> explanation_pb2.OutputOptions:
    return explanation_pb2.OutputOptions(
        sum_channels=options.get("sum_channels", False),
        top_features=options.get("top_features") or 0,
        datatype=options.get("datatype") or "",
        return_inputs=options.get("return_inputs", False),
        return_outputs=options.get("return_outputs", False),
        return_predictions=options.get("return_predictions"),
        top_k=options.get("top_k") or 0,
    )
