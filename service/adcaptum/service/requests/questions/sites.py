"""Layers and neurons of a question."""

from collections.abc import Sequence

from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.wire import tensors
from adcaptum.v1 import explain_spec_pb2


def read(message: explain_spec_pb2.Site, model: ServedModel) -> Site | None:
    """Reads the place at which attributions are taken; None: the inputs.

    Raises:
        InvalidRequest: There is no such layer, or a field that belongs to a layer is set without
            one.
    """
    if message.layer:
        return _site(message.layer, model, "spec.site.layer", at_input=message.at_input)
    for field in ("at_input", "baselines", "feature_masks"):
        if getattr(message, field):
            raise InvalidRequest(f"spec.site.{field}", "given without a layer")
    return None


def neuron(message: explain_spec_pb2.Neuron, model: ServedModel, field: str) -> Neuron:
    """Reads a neuron or a block; its index is checked against the layer when the model runs.

    Args:
        message: The neuron.
        model: The model.
        field: Its path in the request.

    Raises:
        InvalidRequest: There is no such layer, an index is negative, or a block is empty.
    """
    if not message.layer:
        raise InvalidRequest(f"{field}.layer", f"missing; one of {model.some_layers()}")
    place = _site(message.layer, model, f"{field}.layer", at_input=message.at_input)
    tensors.check_rank(message.index, f"{field}.index")
    for position, index in enumerate(message.index):
        if index < 0:
            raise InvalidRequest(f"{field}.index[{position}]", f"{index}; must be at least 0")
    _check_dimensions(place, message.index, model, f"{field}.index")
    if not message.end:
        return Neuron(place, tuple(message.index))
    if len(message.end) != len(message.index):
        raise InvalidRequest(
            f"{field}.end",
            f"{len(message.end)} numbers; must be none, or as many as in index, "
            f"{len(message.index)}",
        )
    for position, (begin, end) in enumerate(zip(message.index, message.end, strict=True)):
        if end <= begin:
            raise InvalidRequest(
                f"{field}.end[{position}]", f"{end}; must be greater than index, {begin}"
            )
    return Neuron(place, tuple(map(slice, message.index, message.end)))


def _site(name: str, model: ServedModel, field: str, *, at_input: bool) -> Site:
    aliases = model.loaded.declaration.layers
    qualified = aliases.get(name, name)
    if qualified not in model.modules:
        known = [*aliases, *model.modules]
        raise InvalidRequest.unknown(field, name, known, Reason.LAYER_UNKNOWN)
    return Site(qualified, "input" if at_input else "output")


def _check_dimensions(site: Site, index: Sequence[int], model: ServedModel, field: str) -> None:
    """Compares the number of dimensions with the layer's, as it was for the model's example."""
    shapes = model.checks.layer_shapes.get(site)
    if shapes and len(index) != len(shapes[0]):
        raise InvalidRequest(
            field,
            f"{len(index)} numbers; {site.named} has {len(shapes[0])} dimensions beside the "
            f"batch, {list(shapes[0])}",
        )
