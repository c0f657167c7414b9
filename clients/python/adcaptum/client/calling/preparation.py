"""Requests as a model takes them: inputs, datatypes and masks that depend on it."""

from collections.abc import Iterable
from typing import Final

from adcaptum.client.calling.calls import Call, Exchange, ask
from adcaptum.client.calling.memory import Memory
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.client.codec.inputs import (
    Inputs,
    as_declared,
    convert_to_declared,
    depends_on_model,
    has_default_datatype,
)
from adcaptum.client.codec.replies import decode_explanations
from adcaptum.client.codec.requests import explain_request, model_ref
from adcaptum.client.codec.segments import masks_by_input, pixels_of, segment, superpixels_of
from adcaptum.client.errors import AdcaptumError
from adcaptum.client.mask import Masks, Superpixels
from adcaptum.client.results.model_info import InputInfo
from adcaptum.client.spec import ExplainOptions, Spec
from adcaptum.v1 import explanation_service_pb2, model_pb2, tensor_pb2

# A look-up of declared datatypes must not delay a request that can do without.
_LOOK_UP_TIMEOUT_S: Final = 5.0

# A cheap question whose answer has the inputs after preprocessing.
_AS_SEEN: Final = Spec(methods="saliency", return_inputs=True, return_features=False)


def prepared_explain(
    memory: Memory, model: str, inputs: Inputs, options: ExplainOptions
) -> Exchange[explanation_service_pb2.ExplainRequest]:
    """Prepare a request for explanations."""
    ref = model_ref(model, options.get("version"), options.get("alias"))
    inputs = yield from read_inputs(memory, ref, inputs)
    masks = _masks(options)
    if masks is not None and superpixels_of(masks):
        made = yield from _segmented(memory, ref, inputs, options, masks)
        options = {**options, "feature_masks": made}
    request = explain_request(model, inputs, options)
    tensors = list(request.inputs)
    if request.HasField("spec"):
        tensors += _baselines_of(request)
    yield from convert(memory, request.model, tensors)
    return request


def _masks(options: ExplainOptions) -> Masks | None:
    """Return the feature masks of a question."""
    own, spec = options.get("feature_masks"), options.get("spec")
    return spec.feature_masks if own is None and spec is not None else own


def _segmented(
    memory: Memory, ref: model_pb2.ModelRef, inputs: Inputs, options: ExplainOptions, masks: Masks
) -> Exchange[Masks]:
    """Make masks of the superpixels that are asked for."""
    declared = yield from _look_up(memory, ref)
    named = masks_by_input(masks, declared)
    images = {name: pixels_of(inputs, name, declared) for name in superpixels_of(named)}
    if any(pixels is None for pixels in images.values()):
        # Images are decoded and resized by the server.
        asked = ExplainOptions(
            version=options.get("version"), alias=options.get("alias"), cache=options.get("cache"),
            spec=_AS_SEEN,
        )  # fmt: skip
        request = explain_request(ref.name, inputs, asked)
        yield from convert(memory, request.model, request.inputs)
        call: Call[
            explanation_service_pb2.ExplainRequest, explanation_service_pb2.ExplainResponse
        ] = Call(lambda stub: stub.Explain, request)
        seen = decode_explanations((yield from ask(call))).inputs
        images = {name: seen[name] for name in images}
    return {
        name: segment(pixels, mask)
        if isinstance(mask, Superpixels) and (pixels := images[name]) is not None
        else mask
        for name, mask in named.items()
    }


def _baselines_of(
    request: explanation_service_pb2.ExplainRequest,
) -> Iterable[tensor_pb2.Tensor]:
    """Yield the tensors of baselines, which have the datatypes of the model's inputs."""
    for each in request.spec.baselines:
        if (kind := each.WhichOneof("kind")) in {"tensor", "distribution"}:
            yield getattr(each, kind)


def read_inputs(memory: Memory, ref: model_pb2.ModelRef, inputs: Inputs) -> Exchange[Inputs]:
    """Read tables, images and files of images, which only the model tells from other inputs."""
    if not depends_on_model(inputs):
        return inputs
    declared = yield from _look_up(memory, ref)
    return as_declared(inputs, declared)


def convert(
    memory: Memory, ref: model_pb2.ModelRef, tensors: Iterable[tensor_pb2.Tensor]
) -> Exchange[None]:
    """Convert tensors of numpy's default datatypes to those that the model declares."""
    chosen = [tensor for tensor in tensors if has_default_datatype(tensor)]
    if not chosen:
        return
    declared = yield from _look_up(memory, ref)
    for tensor in chosen:
        convert_to_declared(tensor, declared)


def _look_up(memory: Memory, ref: model_pb2.ModelRef) -> Exchange[tuple[InputInfo, ...]]:
    """Return the inputs that a model declares; none if it cannot be described."""
    key = ref.SerializeToString(deterministic=True)
    if key not in memory.inputs:
        try:
            response = yield from ask(get_model(ref, _LOOK_UP_TIMEOUT_S, basic=True))
        except AdcaptumError:
            # Sending an invalid request brings the precise error.
            return ()
        described = decode_model(response.model)
        if not (described.versions and described.default.inputs):
            # It has not been read yet.
            return ()
        memory.inputs[key] = described.default.inputs
    return memory.inputs[key]


def get_model(
    ref: model_pb2.ModelRef, timeout_s: float | None = None, *, basic: bool = False
) -> Call[explanation_service_pb2.GetModelRequest, explanation_service_pb2.GetModelResponse]:
    """Return the call that describes a model."""
    request = explanation_service_pb2.GetModelRequest(model=ref)
    if basic:
        request.view = explanation_service_pb2.MODEL_VIEW_BASIC
    return Call(lambda stub: stub.GetModel, request, timeout_s)
