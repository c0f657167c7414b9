"""Captum's way to the same attributions, with the one knob that each of its methods has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from types import MappingProxyType
from typing import Any, Final

from captum import attr as captum

from tests.benchmarks.settings import Settings
from tests.benchmarks.subjects import View

INTERNAL = "internal_batch_size"
PERTURBATIONS = "perturbations_per_eval"
NOISY = "nt_samples_batch_size"


@dataclass(frozen=True, slots=True)
class CaptumCall:
    """A call of Captum.

    Attributes:
        attribute: Explains.
        arguments: With what.
        knob: The argument that tunes the batch size; empty: there is none.
        sizes: What is tried for it.
    """

    attribute: Callable[..., object]
    arguments: Mapping[str, Any]
    knob: str = ""
    sizes: tuple[int, ...] = field(default=())

    def run(self, size: int | None = None) -> object:
        """Calls it, at its default or with the knob at a size."""
        tuned = {} if size is None else {self.knob: size}
        return self.attribute(**self.arguments, **tuned)


def captum_call(method: str, view: View, count: int, settings: Settings) -> CaptumCall | None:
    """What Captum has for a method; None: nothing."""
    make = _CALLS.get(method)
    if make is None:
        return None
    common: dict[str, Any] = {"inputs": view.inputs[:count], "target": view.targets[:count]}
    if view.extra:
        common["additional_forward_args"] = tuple(e[:count] for e in view.extra)
    return make(view, common, settings)


def _sizes(most: int) -> tuple[int, ...]:
    return (*(size for size in (4, 16, 64, 256, 1024) if size < most), most)


def _windows(shape: Sequence[int], settings: Settings) -> int:
    """How many windows cover an input."""
    sizes = zip(shape, settings.window, settings.strides, strict=True)
    return prod(ceil((length - window) / stride) + 1 for length, window, stride in sizes)


def _integrated_gradients(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
    arguments = {**common, "baselines": view.baseline, "n_steps": settings.n_steps}
    rows = settings.n_steps * len(common["inputs"])
    sizes = tuple(size for size in (16, 32, 64, 128, 256) if size < rows)
    return CaptumCall(
        captum.IntegratedGradients(view.network).attribute, arguments, INTERNAL, sizes
    )


def _gradient_shap(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
    arguments = {**common, "baselines": view.baseline, "n_samples": settings.samples}
    return CaptumCall(captum.GradientShap(view.network).attribute, arguments)


def _smooth_grad(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
    arguments = {**common, "nt_samples": settings.samples, "stdevs": 0.1}
    sizes = tuple(size for size in (1, 2, 5, 10) if size < settings.samples)
    return CaptumCall(
        captum.NoiseTunnel(captum.Saliency(view.network)).attribute, arguments, NOISY, sizes
    )


def _perturbing(name: str, method: str, samples: str = "") -> Callable[..., CaptumCall]:
    def make(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
        arguments = {**common, "baselines": view.baseline}
        mask = settings.mask(method, view.inputs)
        if mask is not None:
            arguments["feature_mask"] = mask
        most = view.inputs[0].numel() if mask is None else int(mask.max()) + 1
        if samples:
            arguments["n_samples"] = getattr(settings, samples)
        if method == "kernel_shap":
            most = settings.coalitions
        if method == "occlusion":
            most = _windows(view.inputs.shape[1:], settings)
            arguments["sliding_window_shapes"] = settings.window
            arguments["strides"] = settings.strides
        attribute = getattr(captum, name)(view.network).attribute
        return CaptumCall(attribute, arguments, PERTURBATIONS, _sizes(most))

    return make


def _plain(name: str) -> Callable[..., CaptumCall]:
    """A method of inputs and targets alone."""

    def make(view: View, common: dict[str, Any], _settings: Settings) -> CaptumCall:
        return CaptumCall(getattr(captum, name)(view.network).attribute, common)

    return make


def _at_layer(name: str, *, path: bool = False, target: bool = True) -> Callable[..., CaptumCall]:
    """A method at a layer; with a path to the baseline it takes steps."""

    def make(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
        arguments = {k: v for k, v in common.items() if target or k != "target"}
        attribute = getattr(captum, name)(view.network, view.layer).attribute
        if not path:
            return CaptumCall(attribute, arguments)
        arguments |= {"baselines": view.baseline, "n_steps": settings.n_steps}
        rows = settings.n_steps * len(common["inputs"])
        sizes = tuple(size for size in (16, 32, 64, 128, 256) if size < rows)
        return CaptumCall(attribute, arguments, INTERNAL, sizes)

    return make


def _against_baseline(name: str) -> Callable[..., CaptumCall]:
    def make(view: View, common: dict[str, Any], _settings: Settings) -> CaptumCall:
        arguments = {**common, "baselines": view.baseline}
        return CaptumCall(getattr(captum, name)(view.network).attribute, arguments)

    return make


def _feature_permutation(view: View, common: dict[str, Any], settings: Settings) -> CaptumCall:
    mask = settings.mask("feature_permutation", view.inputs)
    arguments = dict(common) if mask is None else {**common, "feature_mask": mask}
    most = view.inputs[0].numel() if mask is None else int(mask.max()) + 1
    attribute = captum.FeaturePermutation(view.network).attribute
    return CaptumCall(attribute, arguments, PERTURBATIONS, _sizes(most))


_CALLS: Final[Mapping[str, Callable[[View, dict[str, Any], Settings], CaptumCall]]] = (
    MappingProxyType(
        {
            "activation": _at_layer("LayerActivation", target=False),
            "conductance": _at_layer("LayerConductance", path=True),
            "deconvolution": _plain("Deconvolution"),
            "deep_lift": _against_baseline("DeepLift"),
            "feature_permutation": _feature_permutation,
            "grad_cam": _at_layer("LayerGradCam"),
            "guided_backprop": _plain("GuidedBackprop"),
            "internal_influence": _at_layer("InternalInfluence", path=True),
            "lime": _perturbing("Lime", "lime", "coalitions"),
            "lrp": _plain("LRP"),
            "saliency": _plain("Saliency"),
            "input_x_gradient": _plain("InputXGradient"),
            "integrated_gradients": _integrated_gradients,
            "gradient_shap": _gradient_shap,
            "smooth_grad": _smooth_grad,
            "feature_ablation": _perturbing("FeatureAblation", "feature_ablation"),
            "occlusion": _perturbing("Occlusion", "occlusion"),
            "shapley_value_sampling": _perturbing(
                "ShapleyValueSampling", "shapley_value_sampling", "orders"
            ),
            "shapley_values": _perturbing("ShapleyValues", "shapley_values"),
            "kernel_shap": _perturbing("KernelShap", "kernel_shap", "coalitions"),
        }
    )
)
