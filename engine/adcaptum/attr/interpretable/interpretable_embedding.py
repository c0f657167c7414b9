"""Embedding layers taken out of a model, so that embeddings can be given to it as inputs."""

from __future__ import annotations

import warnings
from operator import attrgetter
from typing import Any

from torch.nn import Module

from adcaptum.attr.errors import InvalidInput


class InterpretableEmbeddingBase(Module):
    """A replacement of an embedding layer that passes on embeddings computed before.

    Attributes:
        embedding: The replaced layer.
        full_name: Where in the model that is, with dots.
        num_embeddings: The layer's, None where it has none.
        embedding_dim: The layer's, None where it has none.
    """

    def __init__(self, embedding: Any, full_name: str) -> None:
        super().__init__()
        self.num_embeddings: int | None = getattr(embedding, "num_embeddings", None)
        self.embedding_dim: int | None = getattr(embedding, "embedding_dim", None)
        self.embedding = embedding
        self.full_name = full_name
        # The mode of the replaced layer: a model in evaluation mode stays so in all its parts.
        self.training = getattr(embedding, "training", self.training)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Returns its first argument, positional or named, unchanged.

        Raises:
            AssertionError: If there is none.
        """
        if not inputs and not kwargs:
            raise InvalidInput("inputs", "empty", "the embeddings, as the first argument")
        return inputs[0] if inputs else next(iter(kwargs.values()))

    def indices_to_embeddings(self, *input: Any, **kwargs: Any) -> Any:  # noqa: A002 - Captum's
        """Returns the embedding layer's output for indices, or other arguments that it takes."""
        return self.embedding(*input, **kwargs)


def configure_interpretable_embedding_layer(
    model: Module, embedding_layer_name: str = "embedding"
) -> InterpretableEmbeddingBase:
    """Puts an `InterpretableEmbeddingBase` in the place of a model's embedding layer.

    The model then takes embeddings where it took indices, until
    `remove_interpretable_embedding_layer` undoes it. Methods at a layer need no replacement:
    `LayerIntegratedGradients(model, model.embedding)` leaves the model alone.

    Args:
        model: The model, which is changed.
        embedding_layer_name: Where in it the layer is, with dots.

    Returns:
        The replacement; its `indices_to_embeddings` computes the model's new inputs.

    Raises:
        AssertionError: If it was put there before.
        AttributeError: If there is no such layer.
    """
    embedding = attrgetter(embedding_layer_name)(model)
    if isinstance(embedding, InterpretableEmbeddingBase):
        raise InvalidInput(
            "embedding_layer_name",
            repr(embedding_layer_name),
            "this layer has been replaced already, remove_interpretable_embedding_layer undoes it",
        )
    warnings.warn(
        f"the model's layer {embedding_layer_name} is replaced: the model takes embeddings now, "
        "until remove_interpretable_embedding_layer puts the layer back",
        stacklevel=2,
    )
    stand_in = InterpretableEmbeddingBase(embedding, embedding_layer_name)
    _put(model, embedding_layer_name, stand_in)
    return stand_in


def remove_interpretable_embedding_layer(
    model: Module, interpretable_emb: InterpretableEmbeddingBase
) -> None:
    """Puts the embedding layer back where `configure_interpretable_embedding_layer` took it."""
    _put(model, interpretable_emb.full_name, interpretable_emb.embedding)


def _put(model: Module, name: str, layer: Any) -> None:
    parent, _, own = name.rpartition(".")
    setattr(attrgetter(parent)(model) if parent else model, own, layer)
