"""Captum's attribution methods by their names and signatures, over the engine."""

from adcaptum.attr import visualization
from adcaptum.attr.attribution import (
    Attribution,
    GradientAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from adcaptum.attr.class_summarizer import ClassSummarizer
from adcaptum.attr.conductance import (
    LayerConductance,
    NeuronConductance,
)
from adcaptum.attr.dataloader import DataLoaderAttribution, InputRole
from adcaptum.attr.deep_lift import (
    DeepLift,
    DeepLiftShap,
    LayerDeepLift,
    LayerDeepLiftShap,
    NeuronDeepLift,
    NeuronDeepLiftShap,
)
from adcaptum.attr.feature_ablation import (
    FeatureAblation,
    LayerFeatureAblation,
    NeuronFeatureAblation,
)
from adcaptum.attr.feature_permutation import FeaturePermutation, LayerFeaturePermutation
from adcaptum.attr.grad_cam import (
    LayerGradCam,
)
from adcaptum.attr.gradient_shap import (
    GradientShap,
    LayerGradientShap,
    NeuronGradientShap,
)
from adcaptum.attr.guided_grad_cam import GuidedGradCam
from adcaptum.attr.image_mask_input import ImageMaskInput
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
from adcaptum.attr.interpretable_embedding import (
    InterpretableEmbeddingBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from adcaptum.attr.interpretable_input import InterpretableInput
from adcaptum.attr.kernel_shap import KernelShap
from adcaptum.attr.layer_activation import (
    LayerActivation,
)
from adcaptum.attr.lime import Lime
from adcaptum.attr.lime_base import LimeBase
from adcaptum.attr.lime_functions import get_exp_kernel_similarity_function
from adcaptum.attr.lrp import LRP, LayerLRP
from adcaptum.attr.noise_tunnel import (
    NoiseTunnel,
)
from adcaptum.attr.occlusion import Occlusion
from adcaptum.attr.product_baselines import ProductBaselines
from adcaptum.attr.rectified import (
    Deconvolution,
    GuidedBackprop,
    NeuronDeconvolution,
    NeuronGuidedBackprop,
)
from adcaptum.attr.saliency import (
    NeuronGradient,
    Saliency,
)
from adcaptum.attr.shapley import ShapleyValues, ShapleyValueSampling
from adcaptum.attr.stat import Stat, StatValue
from adcaptum.attr.stats import (
    MSE,
    CommonStats,
    Count,
    Max,
    Mean,
    Min,
    StdDev,
    Sum,
    Var,
)
from adcaptum.attr.summarizer import Summarizer, SummarizerSingleTensor
from adcaptum.attr.text_template_input import TextTemplateInput
from adcaptum.attr.text_token_input import TextTokenInput
from adcaptum.attr.token_reference import TokenReferenceBase

__all__ = [
    "LRP",
    "MSE",
    "Attribution",
    "ClassSummarizer",
    "CommonStats",
    "Count",
    "DataLoaderAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "FeaturePermutation",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "ImageMaskInput",
    "InputRole",
    "InputXGradient",
    "IntegratedGradients",
    "InternalInfluence",
    "InterpretableEmbeddingBase",
    "InterpretableInput",
    "KernelShap",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerFeatureAblation",
    "LayerFeaturePermutation",
    "LayerGradCam",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "LayerLRP",
    "Lime",
    "LimeBase",
    "Max",
    "Mean",
    "Min",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronDeconvolution",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "NeuronFeatureAblation",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronGuidedBackprop",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "Occlusion",
    "PerturbationAttribution",
    "ProductBaselines",
    "Saliency",
    "ShapleyValueSampling",
    "ShapleyValues",
    "Stat",
    "StatValue",
    "StdDev",
    "Sum",
    "Summarizer",
    "SummarizerSingleTensor",
    "TextTemplateInput",
    "TextTokenInput",
    "TokenReferenceBase",
    "Var",
    "configure_interpretable_embedding_layer",
    "get_exp_kernel_similarity_function",
    "remove_interpretable_embedding_layer",
    "visualization",
]
