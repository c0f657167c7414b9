"""Questions as messages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from adcaptum.client.baseline import Background, Baseline, Blur, Distribution
from adcaptum.client.codec.inputs import as_array
from adcaptum.client.codec.methods import write_method
from adcaptum.client.codec.tensors import write_tensor
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.mask import FeatureMask, Mask, Superpixels
from adcaptum.client.method import Method
from adcaptum.client.neuron import Neuron
from adcaptum.client.site import Site
from adcaptum.client.target import AllTargets, Argmax, TopK
from adcaptum.v1 import explain_spec_pb2

_REDUCTIONS = {
    "none": explain_spec_pb2.CHANNEL_REDUCTION_NONE,
    "sum": explain_spec_pb2.CHANNEL_REDUCTION_SUM,
}


def write_field(into: explain_spec_pb2.ExplainSpec, name: str, value: Any) -> None:
    """Write one field of a question, named as in ``Spec``, into a message.

    Raises:
        InvalidRequest: The protocol cannot express the value.
        TypeError: There is no such field.
    """
    writer = _WRITERS.get(name)
    if writer is None:
        raise TypeError(f"there is no option {name!r}; there are {', '.join(_WRITERS)}")
    writer(into, value)


def write_target(into: explain_spec_pb2.Target, target: object) -> None:
    """Write an explained number into an empty message.

    Raises:
        InvalidRequest: It is not a target.
    """
    if type(target) is int:  # the most frequent kind; True and False are none
        into.index.values.append(target)
        return
    match target:
        case str() if target != "all":
            into.label = target
        case str() | AllTargets():
            into.all.SetInParent()
        case Argmax():
            into.argmax.SetInParent()
        case TopK(k):
            into.top_k = k
        case Neuron():
            write_neuron(into.neuron, target)
        case _:
            indices = np.asarray(target)
            if indices.dtype.kind not in "iu" and target != ():
                raise InvalidRequest(
                    f"targets: {target!r} is no class's number or label, nor an index"
                )
            into.index.SetInParent()
            into.index.values.extend(indices.ravel().tolist())


def write_neuron(into: explain_spec_pb2.Neuron, neuron: Neuron) -> None:
    """Write a neuron into an empty message.

    Raises:
        InvalidRequest: A slice has no end, or a step.
    """
    index = neuron.index if isinstance(neuron.index, tuple) else (neuron.index,)
    spans = [each if isinstance(each, slice) else slice(each, each + 1) for each in index]
    for span in spans:
        if span.stop is None or span.step not in {None, 1}:
            raise InvalidRequest(f"neuron: {span} does not say where it ends, or leaves gaps")
    into.layer = neuron.layer
    into.at_input = neuron.at_input
    into.index.extend(span.start or 0 for span in spans)
    if any(isinstance(each, slice) for each in index):
        into.end.extend(span.stop for span in spans)


def _write_methods(into: explain_spec_pb2.ExplainSpec, methods: Any) -> None:
    for each in [methods] if isinstance(methods, str | Method) else methods:
        write_method(into.methods.add(), each)


def _write_targets(into: explain_spec_pb2.ExplainSpec, targets: Any) -> None:
    several = targets if isinstance(targets, list) else [targets]
    if not several:
        raise InvalidRequest("targets: at least one is required")
    for each in several:
        write_target(into.targets.add(), each)


def _write_baselines(into: explain_spec_pb2.ExplainSpec, baselines: Any) -> None:
    named = baselines if isinstance(baselines, Mapping) else {"": baselines}
    for name, value in named.items():
        _write_baseline(into.baselines.add(), value, name)


def _write_baseline(into: explain_spec_pb2.Baseline, value: Baseline, name: str) -> None:
    into.input = name
    match value:
        case str():
            into.named = value
        case Blur(sigma):
            into.blur.sigma = sigma
        case Background(count):
            into.background.count = count
        case Distribution(rows):
            write_tensor(into.distribution, as_array(rows), name)
        case _:
            array = np.asarray(value)
            if array.ndim == 0:
                into.constant = float(array)
            else:
                write_tensor(into.tensor, array, name)


def _write_masks(into: explain_spec_pb2.ExplainSpec, masks: Any) -> None:
    named = masks if isinstance(masks, Mapping) else {"": masks}
    for name, mask in named.items():
        _write_mask(into.feature_masks.add(), mask, name)


def _write_mask(into: explain_spec_pb2.FeatureMask, mask: Mask, name: str) -> None:
    into.input = name
    if isinstance(mask, Superpixels):
        raise InvalidRequest("feature_masks: superpixels are of inputs that are images only")
    if isinstance(mask, FeatureMask):
        into.names.extend(mask.names)
        mask = mask.mask
    write_tensor(into.tensor, as_array(mask), name)


def _write_site(into: explain_spec_pb2.ExplainSpec, site: str | Site) -> None:
    place = Site(site) if isinstance(site, str) else site
    into.site.layer = place.layer
    into.site.at_input = place.at_input
    for baseline in _several(place.baselines):
        _write_baseline(into.site.baselines.add(), baseline, "")
    kinds = {each.WhichOneof("kind") for each in into.site.baselines}
    if wrong := kinds - {"constant", "tensor", "distribution"}:
        raise InvalidRequest(
            f"site.baselines: {', '.join(map(str, wrong))} is of inputs; give numbers, arrays or "
            "distributions"
        )
    for mask in _several(place.feature_masks):
        _write_mask(into.site.feature_masks.add(), mask, "")


def _several(values: Any) -> Sequence[Any]:
    """Return baselines or masks of a layer as a sequence, also a single one."""
    return values if isinstance(values, list | tuple) else [values]


def _write_through(into: explain_spec_pb2.ExplainSpec, neuron: Neuron) -> None:
    write_neuron(into.through, neuron)


def _write_reduction(into: explain_spec_pb2.ExplainSpec, word: str) -> None:
    if word not in _REDUCTIONS:
        raise InvalidRequest(f"channel_reduction: {word!r} is neither 'none' nor 'sum'")
    into.output.channel_reduction = _REDUCTIONS[word]


def _number(part: str, name: str) -> Callable[[explain_spec_pb2.ExplainSpec, Any], None]:
    """Return the writer of a scalar; of a part of the question, or of the question itself."""

    def write(into: explain_spec_pb2.ExplainSpec, value: Any) -> None:
        try:
            setattr(getattr(into, part) if part else into, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{name}: {error}") from error

    return write


_WRITERS: Final[Mapping[str, Callable[[explain_spec_pb2.ExplainSpec, Any], None]]] = {
    "methods": _write_methods,
    "targets": _write_targets,
    "baselines": _write_baselines,
    "feature_masks": _write_masks,
    "site": _write_site,
    "through": _write_through,
    "max_rows": _number("budget", "max_rows"),
    "tolerance": _number("budget", "tolerance"),
    "channel_reduction": _write_reduction,
    "max_features": _number("output", "max_features"),
    "datatype": _number("output", "datatype"),
    "return_inputs": _number("output", "return_inputs"),
    "return_outputs": _number("output", "return_outputs"),
    "return_predictions": _number("output", "return_predictions"),
    "return_features": _number("output", "return_features"),
    "max_labels": _number("output", "max_labels"),
    "seed": _number("", "seed"),
    "deterministic": _number("", "deterministic"),
}
