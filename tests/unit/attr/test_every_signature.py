"""Every name of `captum.attr` is here, with Captum's constructor and `attribute`.

What is about language models is left out. Our own extras are listed: they can only be given by
name, so that what a notebook says means the same.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from captum import attr as captum

from adcaptum import attr

LANGUAGE_MODELS = {
    "LLMAttribution",
    "LLMAttributionResult",
    "LLMGradientAttribution",
    "RemoteLLMAttribution",
    "RemoteLLMProvider",
    "VLLMProvider",
}
NAMES = sorted(set(captum.__all__) - LANGUAGE_MODELS)
CLASSES = [name for name in NAMES if inspect.isclass(getattr(captum, name))]
BACKWARD = ["GuidedBackprop", "Deconvolution", "NeuronGuidedBackprop", "NeuronDeconvolution"]
DIFFERENCES = [f"{at}DeepLift{shap}" for at in ("", "Layer", "Neuron") for shap in ("", "Shap")]
OURS = (
    {name: ["strict"] for name in [*BACKWARD, "GuidedGradCam"]}
    | {name: ["rule", "strict"] for name in DIFFERENCES}
    | {name: ["composite", "strict"] for name in ("LRP", "LayerLRP")}
)
# Those of Captum's that are no part of what it documents.
INTERNAL = {
    "DeepLift": {"satisfies_attribute_criteria"},
    "DeepLiftShap": {"satisfies_attribute_criteria"},
    "LayerDeepLift": {"satisfies_attribute_criteria"},
    "LayerDeepLiftShap": {"satisfies_attribute_criteria"},
    "KernelShap": {"kernel_shap_perturb_generator", "kernel_shap_similarity_kernel"},
    "LayerGradientXActivation": {"multiply_gradient_acts"},
    "LayerFeatureAblation": {"attributor"},
    "LayerFeaturePermutation": {"attributor"},
}


def parameters(callable_: Any) -> list[inspect.Parameter]:
    """Without annotations; a default that is a function is one of each library's own."""
    return [
        p.replace(
            annotation=p.empty, default=callable if inspect.isfunction(p.default) else p.default
        )
        for p in inspect.signature(callable_).parameters.values()
    ]


def test_every_name_is_here_and_listed() -> None:
    assert set(NAMES) <= set(attr.__all__)
    assert all(hasattr(attr, name) for name in attr.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_constructors_are_captums_and_extras_go_by_name(name: str) -> None:
    mine = parameters(getattr(attr, name))
    extras = mine[len(mine) - len(OURS.get(name, ())) :]
    assert [p.name for p in extras] == OURS.get(name, [])
    assert all(p.kind is p.KEYWORD_ONLY for p in extras)
    assert mine[: len(mine) - len(extras)] == parameters(getattr(captum, name))


@pytest.mark.parametrize("name", CLASSES)
def test_methods_and_properties_are_captums(name: str) -> None:
    here, there = getattr(attr, name), getattr(captum, name)
    for member, theirs in inspect.getmembers_static(there):
        if member.startswith("_") or member in INTERNAL.get(name, ()):
            continue
        if isinstance(theirs, property):
            assert isinstance(inspect.getattr_static(here, member), property), member
        elif inspect.isroutine(theirs):
            own = getattr(here, member)
            # One that raises takes whatever it is given.
            if member != "attribute_future" or "inputs" in inspect.signature(own).parameters:
                assert parameters(own) == parameters(getattr(there, member)), member


@pytest.mark.parametrize(
    "name", [name for name in CLASSES if hasattr(getattr(captum, name), "get_name")]
)
def test_names_in_words_are_captums(name: str) -> None:
    assert getattr(attr, name).get_name() == getattr(captum, name).get_name()
