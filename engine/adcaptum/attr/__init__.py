"""Captum's attribution methods by their names and signatures, over the engine."""

from adcaptum.attr import visualization
from adcaptum.attr.backward_rules.deep_lift import (
    DeepLift,
    DeepLiftShap,
    LayerDeepLift,
    LayerDeepLiftShap,
    NeuronDeepLift,
    NeuronDeepLiftShap,
)
from adcaptum.attr.backward_rules.lrp import LRP, LayerLRP
from adcaptum.attr.cam.grad_cam import (
    LayerGradCam,
)
from adcaptum.attr.cam.guided_grad_cam import GuidedGradCam
from adcaptum.attr.facade.attribution import (
    Attribution,
    GradientAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from adcaptum.attr.gradients.input_x_gradient import (
    InputXGradient,
    LayerGradientXActivation,
)
from adcaptum.attr.gradients.noise_tunnel import (
    NoiseTunnel,
)
from adcaptum.attr.gradients.rectified import (
    Deconvolution,
    GuidedBackprop,
    NeuronDeconvolution,
    NeuronGuidedBackprop,
)
from adcaptum.attr.gradients.saliency import (
    NeuronGradient,
    Saliency,
)
from adcaptum.attr.interpretable.image_mask_input import ImageMaskInput
from adcaptum.attr.interpretable.interpretable_embedding import (
    InterpretableEmbeddingBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from adcaptum.attr.interpretable.interpretable_input import InterpretableInput
from adcaptum.attr.interpretable.product_baselines import ProductBaselines
from adcaptum.attr.interpretable.text_template_input import TextTemplateInput
from adcaptum.attr.interpretable.text_token_input import TextTokenInput
from adcaptum.attr.interpretable.token_reference import TokenReferenceBase
from adcaptum.attr.layers.conductance import (
    LayerConductance,
    NeuronConductance,
)
from adcaptum.attr.layers.internal_influence import (
    InternalInfluence,
)
from adcaptum.attr.layers.layer_activation import (
    LayerActivation,
)
from adcaptum.attr.paths.gradient_shap import (
    GradientShap,
    LayerGradientShap,
    NeuronGradientShap,
)
from adcaptum.attr.paths.integrated_gradients import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
)
from adcaptum.attr.perturbation.dataloader import DataLoaderAttribution, InputRole
from adcaptum.attr.perturbation.feature_ablation import (
    FeatureAblation,
    LayerFeatureAblation,
    NeuronFeatureAblation,
)
from adcaptum.attr.perturbation.feature_permutation import (
    FeaturePermutation,
    LayerFeaturePermutation,
)
from adcaptum.attr.perturbation.occlusion import Occlusion
from adcaptum.attr.perturbation.shapley import ShapleyValues, ShapleyValueSampling
from adcaptum.attr.statistics.class_summarizer import ClassSummarizer
from adcaptum.attr.statistics.stat import Stat, StatValue
from adcaptum.attr.statistics.stats import (
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
from adcaptum.attr.statistics.summarizer import Summarizer, SummarizerSingleTensor
from adcaptum.attr.surrogates.kernel_shap import KernelShap
from adcaptum.attr.surrogates.lime import Lime
from adcaptum.attr.surrogates.lime_base import LimeBase
from adcaptum.attr.surrogates.lime_functions import get_exp_kernel_similarity_function

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
