"""Captum's attribution methods by their names and signatures, over the engine."""

from adcaptum.attr.attribution import (
    Attribution,
    GradientAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from adcaptum.attr.conductance import (
    LayerConductance,
    NeuronConductance,
)
from adcaptum.attr.grad_cam import (
    LayerGradCam,
)
from adcaptum.attr.gradient_shap import (
    GradientShap,
    LayerGradientShap,
    NeuronGradientShap,
)
from adcaptum.attr.input_x_gradient import (
    InputXGradient,
    LayerGradientXActivation,
)
from adcaptum.attr.integrated_gradients import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
)
from adcaptum.attr.internal_influence import (
    InternalInfluence,
)
from adcaptum.attr.layer_activation import (
    LayerActivation,
)
from adcaptum.attr.noise_tunnel import (
    NoiseTunnel,
)
from adcaptum.attr.saliency import (
    NeuronGradient,
    Saliency,
)

__all__ = [
    "Attribution",
    "GradientAttribution",
    "GradientShap",
    "InputXGradient",
    "IntegratedGradients",
    "InternalInfluence",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerGradCam",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "PerturbationAttribution",
    "Saliency",
]
