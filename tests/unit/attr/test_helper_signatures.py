"""The names and signatures of what stands beside the methods are Captum's."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any

import captum.attr as reference
import pytest
from captum.attr import visualization as reference_visualization

from adcaptum.attr import visualization

HOMES = {
    "ClassSummarizer": "statistics.class_summarizer",
    "CommonStats": "statistics.stats",
    "Count": "statistics.stats",
    "ImageMaskInput": "interpretable.image_mask_input",
    "InterpretableEmbeddingBase": "interpretable.interpretable_embedding",
    "InterpretableInput": "interpretable.interpretable_input",
    "MSE": "statistics.stats",
    "Max": "statistics.stats",
    "Mean": "statistics.stats",
    "Min": "statistics.stats",
    "ProductBaselines": "interpretable.product_baselines",
    "StdDev": "statistics.stats",
    "Sum": "statistics.stats",
    "Summarizer": "statistics.summarizer",
    "SummarizerSingleTensor": "statistics.summarizer",
    "TextTemplateInput": "interpretable.text_template_input",
    "TextTokenInput": "interpretable.text_token_input",
    "TokenReferenceBase": "interpretable.token_reference",
    "Var": "statistics.stats",
    "configure_interpretable_embedding_layer": "interpretable.interpretable_embedding",
    "remove_interpretable_embedding_layer": "interpretable.interpretable_embedding",
}
FUNCTIONS = [
    name
    for name, value in vars(reference_visualization).items()
    if inspect.isfunction(value)
    and value.__module__ == reference_visualization.__name__
    and not name.startswith("_")
]


def parameters(callable_: Any) -> list[tuple[Any, ...]]:
    """Names, kinds and defaults; of a default that is a function of Captum's own, that it is."""
    found = []
    for parameter in inspect.signature(callable_).parameters.values():
        default = parameter.default
        if inspect.isfunction(default):
            default = "a function"
        found.append((parameter.name, parameter.kind, default))
    return found


@pytest.mark.parametrize("name", HOMES)
def test_signatures_are_captums(name: str) -> None:
    ours = getattr(import_module(f"adcaptum.attr.{HOMES[name]}"), name)
    theirs = getattr(reference, name)
    assert parameters(ours) == parameters(theirs)
    assert inspect.isclass(ours) == inspect.isclass(theirs)
    for method, member in vars(theirs).items() if inspect.isclass(theirs) else ():
        if inspect.isfunction(member) and not method.startswith("_"):
            assert parameters(getattr(ours, method)) == parameters(member), method
        elif isinstance(member, property):
            assert isinstance(getattr(ours, method), property), method


@pytest.mark.parametrize("name", [*FUNCTIONS, "VisualizationDataRecord"])
def test_signatures_of_pictures_are_captums(name: str) -> None:
    ours, theirs = getattr(visualization, name), getattr(reference_visualization, name)
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize(
    "name", ["ImageVisualizationMethod", "TimeseriesVisualizationMethod", "VisualizeSign"]
)
def test_choices_of_pictures_are_captums(name: str) -> None:
    ours, theirs = getattr(visualization, name), getattr(reference_visualization, name)
    assert {one.name: one.value for one in ours} == {one.name: one.value for one in theirs}


def test_visualization_lists_what_it_has() -> None:
    assert set(FUNCTIONS) < set(visualization.__all__)
    assert dir(visualization) == sorted(visualization.__all__)
    assert all(getattr(visualization, name) for name in visualization.__all__)
    with pytest.raises(AttributeError, match="no attribute 'visualise'"):
        visualization.visualise  # noqa: B018


def test_matplotlib_is_needed_only_for_pictures() -> None:
    program = """
import sys
sys.modules["matplotlib"] = sys.modules["IPython"] = sys.modules["PIL"] = None
import adcaptum.attr
from adcaptum.attr import visualization
visualization.format_word_importances(["a"], [1.0])
try:
    visualization.visualize_image_attr
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "visualize_image_attr needs matplotlib: pip install 'adcaptum[plot]'\n"
