"""Texts with segments, or tokens, as features."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import captum.attr as reference
import pytest
import torch
from torch import Tensor

from adcaptum.attr.interpretable.interpretable_input import InterpretableInput
from adcaptum.attr.interpretable.product_baselines import ProductBaselines
from adcaptum.attr.interpretable.text_template_input import TextTemplateInput
from adcaptum.attr.interpretable.text_token_input import TextTokenInput


def join(*words: str) -> str:
    return "+".join(words)


TEMPLATES: list[tuple[str, dict[str, Any]]] = [
    ("list", {"template": "{} {} {}!", "values": ["a", "b", "c"]}),
    ("baselines", {"template": "{}{}", "values": ["a", "b"], "baselines": ["x", "y"]}),
    ("callable", {"template": join, "values": ["a", "b"], "baselines": ["x", "y"]}),
    ("mask", {"template": "{}{}{}", "values": ["a", "b", "c"], "mask": [3, 1, 3]}),
    (
        "dict",
        {
            "template": "{who} feels {what}",
            "values": {"who": "He", "what": "sad"},
            "baselines": {"what": "fine", "who": "It"},
            "mask": {"what": 0, "who": 0},
        },
    ),
    (
        "drawn",
        {
            "template": "{a}{b}",
            "values": {"a": "1", "b": "2"},
            "baselines": ProductBaselines({("a", "b"): [("x", "y"), ("v", "w")]}),
        },
    ),
    ("drawn list", {"template": "{}", "values": ["1"], "baselines": lambda: ["x"]}),
]


@pytest.mark.parametrize(
    "arguments", [a for _, a in TEMPLATES], ids=[name for name, _ in TEMPLATES]
)
def test_texts_of_templates_are_captums(arguments: dict[str, Any]) -> None:
    ours, theirs = TextTemplateInput(**arguments), reference.TextTemplateInput(**arguments)
    assert torch.equal(ours.to_tensor(), theirs.to_tensor())
    assert ours.n_itp_features == theirs.n_itp_features
    assert ours.values == theirs.values
    assert ours.to_model_input() == theirs.to_model_input()
    for bits in product((0.0, 1.0), repeat=ours.n_itp_features):
        texts = []
        for text in (ours, theirs):
            random.seed(5)
            texts.append(text.to_model_input(torch.tensor([bits])))
        assert texts[0] == texts[1]


@pytest.mark.parametrize("mask", [None, [0, 1, 0, 2], [8, 1, 8, 5]], ids=str)
def test_each_segment_has_its_features_attribution(mask: list[int] | None) -> None:
    text = TextTemplateInput("{}{}{}{}", list("abcd"), mask=mask)
    places = {id_: i for i, id_ in enumerate(sorted(set(mask or range(4))))}
    attr = torch.arange(2.0 * text.n_itp_features).view(2, -1)
    wanted = torch.stack([attr[:, places[id_]] for id_ in (mask or range(4))], 1)
    assert torch.equal(text.format_attr(attr), wanted)


@pytest.mark.parametrize(
    "arguments",
    [
        {"template": "{}", "values": ("a",)},
        {"template": 3, "values": ["a"]},
        {"template": "{}", "values": ["a"], "baselines": {"a": "b"}},
        {"template": "{a}", "values": {"a": "b"}, "baselines": ["b"]},
        {"template": "{a}", "values": {"a": "b"}, "mask": [0]},
    ],
    ids=["values", "template", "baselines of a list", "baselines of a dict", "mask"],
)
def test_arguments_in_another_form_raise_as_in_captum(arguments: dict[str, Any]) -> None:
    for cls in (TextTemplateInput, reference.TextTemplateInput):
        with pytest.raises(AssertionError):
            cls(**arguments)


@pytest.mark.parametrize(
    ("values", "drawn"), [(["a"], {"a": "b"}), ({"a": "b"}, ["b"])], ids=["list", "dict"]
)
def test_baselines_drawn_in_another_form_raise_as_in_captum(values: Any, drawn: Any) -> None:
    for cls in (TextTemplateInput, reference.TextTemplateInput):
        text = cls("{}", values, baselines=lambda: drawn)
        with pytest.raises(AssertionError):
            text.to_model_input(torch.zeros(1, 1))


class Words:
    """A tokenizer of words, with a token at the beginning."""

    def __init__(self) -> None:
        self.vocabulary = ["<unk>", "<s>", "the", "cat", "sat", "<pad>"]

    def encode(self, text: str, add_special_tokens: bool = True, return_tensors: str = "") -> Any:
        assert return_tensors == "pt"
        return torch.tensor([self.convert_tokens_to_ids(["<s>", *text.split()])])

    def convert_ids_to_tokens(self, token_ids: list[int]) -> list[str]:
        return [self.vocabulary[i] for i in token_ids]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [self.vocabulary.index(token) for token in tokens]


@pytest.mark.parametrize("skip_tokens", [None, [], [1], ["<s>", "sat"]], ids=str)
@pytest.mark.parametrize("baselines", [0, 5, "<pad>"])
def test_ids_of_texts_are_captums(skip_tokens: Any, baselines: Any) -> None:
    ours, theirs = (
        cls("the cat sat", Words(), baselines=baselines, skip_tokens=skip_tokens)
        for cls in (TextTokenInput, reference.TextTokenInput)
    )
    assert ours.values == theirs.values
    assert ours.n_itp_features == theirs.n_itp_features
    assert_equal(ours.to_tensor(), theirs.to_tensor())
    assert_equal(ours.to_model_input(), theirs.to_model_input())
    generator = torch.Generator().manual_seed(0)
    perturbed = torch.randint(0, 2, (5, ours.n_itp_features), generator=generator)
    for rows in (perturbed, perturbed.float(), perturbed[:1]):
        assert_equal(ours.to_model_input(rows), theirs.to_model_input(rows))


def test_making_a_perturbed_text_leaves_the_text_alone() -> None:
    text = TextTokenInput("the cat", Words(), skip_tokens=["<s>"])
    text.to_model_input(torch.zeros(1, 2))
    assert text.to_model_input().tolist() == [[1, 2, 3]]


def test_attributions_of_tokens_are_shown_as_they_are() -> None:
    attr = torch.randn(2, 3)
    assert TextTokenInput("the cat", Words()).format_attr(attr) is attr


def test_an_interpretable_input_is_abstract() -> None:
    with pytest.raises(TypeError, match="to_model_input"):
        InterpretableInput()  # type: ignore[abstract]


def assert_equal(got: Tensor, wanted: Tensor) -> None:
    assert got.dtype is wanted.dtype
    assert torch.equal(got, wanted)
