"""TOML that reads well, and reads back."""

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies

from adcaptum.service.authoring import toml_text
from adcaptum.zoo.recipes import cells, digits, photos, reviews

LONG = " ".join(['Each number is the distance of two corners, as a "ruler" shows it.'] * 6)

CONTENT: dict[str, object] = {
    "description": 'µ "quoted" \\ and\ttabbed',
    "source": LONG,
    "accuracy": 0.9512,
    "arguments": {"features": 30, "wide": True, "name": "x"},
    "inputs": [
        {
            "name": "x",
            "shape": [-1, 30],
            "features": [f"feature number {index}" for index in range(30)],
            "baselines": {"black": 0.0, "mean": {"file": "a.safetensors", "key": "mean"}},
        }
    ],
    "outputs": [{"name": "y", "labels": ["no", "yes"]}],
    "defaults": {"methods": [{"name": "saliency", "params": {"abs": False}}]},
    "presets": {
        "quick": {"description": "Soon.", "methods": [{"name": "saliency"}]},
        "a b": {"budget": {"tolerance": 0.01}, "targets": [{"argmax": {}}]},
    },
}


def test_it_reads_back() -> None:
    assert tomllib.loads(toml_text.dumps(CONTENT)) == CONTENT


def test_what_is_short_takes_one_line_and_nothing_takes_a_long_one() -> None:
    lines = toml_text.dumps(CONTENT).splitlines()
    assert 'labels = ["no", "yes"]' in lines
    assert "shape = [-1, 30]" in lines
    assert 'methods = [{ name = "saliency", params = { abs = false } }]' in lines
    assert "[presets.quick]" in lines
    assert '[presets."a b"]' in lines
    assert 'mean = { file = "a.safetensors", key = "mean" }' in lines
    assert max(map(len, lines)) <= toml_text.WIDTH
    # Thirty names take a few lines, not thirty.
    assert len(lines) < 50


# Longer than a line of the file, which is what a text has to be to be divided.
TEXTS = strategies.text(strategies.characters(exclude_categories=["Cs"]), max_size=150)
PLAIN = (
    TEXTS
    | strategies.integers(-(2**63), 2**63 - 1)
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.booleans()
)
NAMES = strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)


@given(
    strategies.dictionaries(
        NAMES,
        strategies.recursive(
            PLAIN, lambda inner: strategies.lists(inner, max_size=30), max_leaves=40
        ),
        max_size=6,
    )
)
def test_any_values_read_back(content: Mapping[str, Any]) -> None:
    assert tomllib.loads(toml_text.dumps(content)) == content


@pytest.mark.parametrize("text", [LONG + "\n" + LONG, "  " + LONG, LONG + "  ", "x" * 300, "\x7f"])
def test_long_texts_read_back_whatever_their_spaces(text: str) -> None:
    assert tomllib.loads(toml_text.dumps({"text": text})) == {"text": text}


def test_what_toml_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="None has no form in TOML"):
        toml_text.dumps({"nothing": None})


@pytest.mark.parametrize("module", [cells, digits, photos, reviews])
def test_recipes_have_a_quick_and_an_exact_preset(module: Any) -> None:
    assert list(module.PRESETS) == ["quick", "exact"]
    quick, exact = module.PRESETS["quick"], module.PRESETS["exact"]
    assert exact["budget"]["tolerance"] <= 0.05
    if "budget" in quick:
        assert quick["budget"]["tolerance"] > exact["budget"]["tolerance"]
