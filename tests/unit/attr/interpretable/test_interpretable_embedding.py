"""Embedding layers taken out of a model, and baselines of tokens."""

from __future__ import annotations

from typing import Any

import captum.attr as reference
import pytest
import torch
from torch import Tensor, nn

from adcaptum.attr.interpretable.interpretable_embedding import (
    InterpretableEmbeddingBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from adcaptum.attr.interpretable.token_reference import TokenReferenceBase


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([nn.Embedding(10, 4), nn.Linear(4, 2)])
        self.embedding = nn.Embedding(10, 4)

    def forward(self, ids: Tensor) -> Tensor:
        layers = self.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        result: Tensor = (
            layers[1](layers[0](ids)).sum(1) + self.embedding(ids).mean((1, 2))[:, None]
        )
        return result


class Whole(Text):
    def forward(self, ids: Tensor) -> Tensor:
        layers = self.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        result: Tensor = layers[1](layers[0](ids)).sum(1)
        return result


def configured(model: nn.Module, name: str) -> InterpretableEmbeddingBase:
    with pytest.warns(UserWarning, match="remove_interpretable_embedding_layer"):
        return configure_interpretable_embedding_layer(model, name)


def test_the_model_takes_embeddings_until_the_layer_is_back() -> None:
    model, ids = Whole(), torch.tensor([[1, 2, 3]])
    before, layer = model(ids), model.get_submodule("encoder.layers.0")
    stand_in = configured(model, "encoder.layers.0")
    assert model.get_submodule("encoder.layers.0") is stand_in
    assert torch.equal(model(stand_in.indices_to_embeddings(ids)), before)
    remove_interpretable_embedding_layer(model, stand_in)
    assert model.get_submodule("encoder.layers.0") is layer
    assert torch.equal(model(ids), before)


def test_it_describes_the_layer_as_captum_does() -> None:
    model = Text()
    stand_in = configured(model, "encoder.layers.0")
    theirs = reference.InterpretableEmbeddingBase(stand_in.embedding, "encoder.layers.0")
    for name in ("num_embeddings", "embedding_dim", "full_name"):
        assert getattr(stand_in, name) == getattr(theirs, name)


def test_its_default_place_is_embedding() -> None:
    model = Text()
    with pytest.warns(UserWarning, match="layer embedding is replaced"):
        assert configure_interpretable_embedding_layer(model) is model.get_submodule("embedding")


def test_a_layer_is_not_configured_twice() -> None:
    model = Text()
    configured(model, "embedding")
    with pytest.raises(AssertionError, match="replaced already"):
        configure_interpretable_embedding_layer(model, "embedding")


def test_a_layer_that_is_not_there_raises() -> None:
    with pytest.raises(AttributeError, match="absent"):
        configure_interpretable_embedding_layer(Text(), "encoder.absent")


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_stays(training: bool) -> None:
    model = Text().train(training)
    stand_in = configured(model, "embedding")
    assert {module.training for module in model.modules()} == {training}
    remove_interpretable_embedding_layer(model, stand_in)
    assert {module.training for module in model.modules()} == {training}


@pytest.mark.parametrize(
    ("args", "kwargs"), [(("first", "second"), {}), ((), {"inputs_embeds": "first", "other": 1})]
)
def test_it_passes_on_its_first_argument(args: Any, kwargs: Any) -> None:
    assert InterpretableEmbeddingBase(nn.Identity(), "name")(*args, **kwargs) == "first"


def test_it_needs_an_argument() -> None:
    with pytest.raises(AssertionError, match="embeddings"):
        InterpretableEmbeddingBase(nn.Identity(), "name")()


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_reference_repeats_its_token(length: int) -> None:
    got = TokenReferenceBase(reference_token_idx=7).generate_reference(length, torch.device("cpu"))
    assert got.dtype is torch.int64
    assert got.tolist() == [7] * length


def test_the_reference_token_is_0_unless_given() -> None:
    ours, theirs = (
        cls().generate_reference(3, device=torch.device("cpu"))
        for cls in (TokenReferenceBase, reference.TokenReferenceBase)
    )
    assert torch.equal(ours, theirs)
