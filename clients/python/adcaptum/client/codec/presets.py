"""Questions that a model's owner declares, decoded."""

from typing import Any

from adcaptum.client.baseline import Background, Baseline, Blur, Distribution
from adcaptum.client.codec.methods import decode_method
from adcaptum.client.codec.tensors import decode_tensor
from adcaptum.client.mask import FeatureMask
from adcaptum.client.neuron import Index, Neuron
from adcaptum.client.results.model_info import Preset
from adcaptum.client.site import Site
from adcaptum.client.spec import ChannelReduction, Spec
from adcaptum.client.target import AllTargets, Argmax, Target, TopK
from adcaptum.v1 import explain_spec_pb2

_REDUCTIONS: dict[int, ChannelReduction] = {
    explain_spec_pb2.CHANNEL_REDUCTION_NONE: "none",
    explain_spec_pb2.CHANNEL_REDUCTION_SUM: "sum",
}


def decode_preset(preset: explain_spec_pb2.Preset) -> Preset:
    """Decode a preset."""
    return Preset(preset.name, preset.description, decode_spec(preset.spec))


def decode_spec(spec: explain_spec_pb2.ExplainSpec) -> Spec:
    """Decode a question; fields that are not set are None."""
    output = spec.output
    return Spec(
        methods=[decode_method(each) for each in spec.methods] or None,
        targets=[_decode_target(each) for each in spec.targets] or None,
        baselines={each.input: _decode_baseline(each) for each in spec.baselines} or None,
        feature_masks={each.input: _decode_mask(each) for each in spec.feature_masks} or None,
        site=_decode_site(spec.site) if spec.HasField("site") else None,
        through=_decode_neuron(spec.through) if spec.HasField("through") else None,
        max_rows=_given(spec.budget, "max_rows"),
        tolerance=_given(spec.budget, "tolerance"),
        channel_reduction=_REDUCTIONS.get(output.channel_reduction),
        max_features=_given(output, "max_features"),
        datatype=output.datatype or None,
        return_inputs=output.return_inputs or None,
        return_outputs=output.return_outputs or None,
        return_predictions=_given(output, "return_predictions"),
        return_features=_given(output, "return_features"),
        max_labels=_given(output, "max_labels"),
        seed=_given(spec, "seed"),
        deterministic=_given(spec, "deterministic"),
    )


def _given(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _decode_target(target: explain_spec_pb2.Target) -> Target:
    match target.WhichOneof("kind"):
        case "index":
            index = tuple(target.index.values)
            return index[0] if len(index) == 1 else index
        case "label":
            return target.label
        case "top_k":
            return TopK(target.top_k)
        case "all":
            return AllTargets()
        case "neuron":
            return _decode_neuron(target.neuron)
    return Argmax()


def _decode_neuron(neuron: explain_spec_pb2.Neuron) -> Neuron:
    index: tuple[Index, ...] = tuple(neuron.index)
    if neuron.end:
        index = tuple(map(slice, neuron.index, neuron.end))
    return Neuron(neuron.layer, index, neuron.at_input)


def _decode_baseline(baseline: explain_spec_pb2.Baseline) -> Baseline:
    match baseline.WhichOneof("kind"):
        case "named":
            return baseline.named
        case "tensor":
            return decode_tensor(baseline.tensor)
        case "distribution":
            return Distribution(decode_tensor(baseline.distribution))
        case "blur":
            return Blur(baseline.blur.sigma)
        case "background":
            return Background(baseline.background.count)
    return baseline.constant


def _decode_mask(mask: explain_spec_pb2.FeatureMask) -> FeatureMask:
    return FeatureMask(decode_tensor(mask.tensor), tuple(mask.names))


def _decode_site(site: explain_spec_pb2.Site) -> Site:
    return Site(
        site.layer,
        site.at_input,
        tuple(_decode_baseline(each) for each in site.baselines),
        tuple(_decode_mask(each) for each in site.feature_masks),
    )
