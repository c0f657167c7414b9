"""What is explained: the bundled models and the small ResNet, with inputs and baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, Explicand, Site
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.service.models.loading import LoadedModel, load
from adcaptum.service.models.repository.stored_models import open_model
from tests.benchmarks import models

REPOSITORY: Final = Path("build/models")
MOST: Final = 16
LAYERS: Final = MappingProxyType(
    {
        "cells": "relu_2",
        "digits": "block_2",
        "cnn": "blocks",
        "reviews": "encoder.layers.5",
        "transformer": "layers.3",
        "photos": "head",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One way to see a model: its inputs, or the embeddings of its tokens.

    Attributes:
        network: What Captum and the bare loop call.
        inputs: What it is called with, (16, *features).
        baseline: What that is compared with, (1, *features).
        extra: Further arguments of the network, (16, ...) each.
        targets: The class that is explained, of each input.
        model: What the engine explains.
        model_inputs: What the model is called with, (16, ...).
        model_baseline: What that is compared with, (1, ...).
        at: Where the engine explains.
        layered: Whether that is a layer inside the network.
    """

    network: Callable[..., Tensor]
    inputs: Tensor
    baseline: Tensor
    extra: tuple[Tensor, ...]
    targets: Tensor
    model: nn.Module
    model_inputs: Tensor
    model_baseline: Tensor
    at: Site = INPUT
    layered: bool = False

    @property
    def layer(self) -> nn.Module:
        """The module at whose output the engine explains."""
        assert isinstance(self.at.layer, str), "benchmarks name their layers"
        return self.model.get_submodule(self.at.layer)

    def explicand(self, count: int, mask: Tensor | None, *, with_error: bool = True) -> Explicand:
        """The engine's question about the first inputs."""
        return Explicand.of(
            self.model_inputs[:count],
            target=self.targets[:count],
            baselines=self.model_baseline,
            at=self.at,
            additional_forward_args=[e[:count] for e in self.extra],
            feature_mask=mask,
            with_error=with_error,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model to explain.

    Attributes:
        name: The model's.
        plain: The model as it is; for methods that only evaluate it.
        smooth: What has gradients: the same, or the embeddings of tokens.
        inside: A layer near its end.
    """

    name: str
    plain: View
    smooth: View
    inside: View

    def view(self, method: type[Method]) -> View:
        """How a method sees it."""
        if needs_layer(method.traits.layer):
            return self.inside
        return self.smooth if method.traits.gradient else self.plain


def load_subject(name: str) -> Subject:
    """Reads a bundled model, or builds the small ResNet, "cnn", or the "transformer"."""
    if name == "cnn":
        generator = torch.Generator().manual_seed(0)
        pixels = torch.rand(MOST, 3, 32, 32, generator=generator)
        return _plain("cnn", models.build(), pixels, torch.zeros(1, 3, 32, 32))
    if name == "transformer":
        return _transformer()
    loaded = bundled(name)
    if name == "reviews":
        return _reviews(loaded)
    (examples,) = loaded.examples
    declared = loaded.declaration.inputs[0]
    baseline = loaded.baselines[declared.name][declared.default_baseline]
    tensor = torch.as_tensor(baseline, dtype=examples.dtype)
    return _plain(name, loaded.module, _many(examples), tensor.expand(1, *examples.shape[1:]))


@cache
def bundled(name: str) -> LoadedModel:
    """Loads a model that `make models` has built."""
    stored = open_model(REPOSITORY / name)
    return load(stored, stored.versions[stored.default_version], torch.device("cpu"))


def _plain(name: str, model: nn.Module, inputs: Tensor, baseline: Tensor) -> Subject:
    baseline = baseline.contiguous()
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    view = View(model, inputs, baseline, (), targets, model, inputs, baseline)
    return Subject(name, view, view, _inside(name, view))


def _inside(name: str, plain: View) -> View:
    return replace(plain, at=Site(LAYERS[name]), layered=True)


def _reviews(loaded: LoadedModel) -> Subject:
    model = loaded.module
    ids, mask = map(_many, loaded.examples)
    declared = loaded.declaration.inputs[0]
    assert declared.embedding is not None
    pad = loaded.baselines[declared.name]["pad"]
    # [CLS] and [SEP] and what pads the batch stay; one baseline serves all, as in Captum.
    baseline = torch.full_like(ids[:1], int(pad))
    baseline[:, 0] = ids[0, 0]
    embedding = model.get_submodule(declared.embedding)
    with torch.no_grad():
        targets = model(ids, mask).argmax(1)
        inside, inside_baseline = embedding(ids), embedding(baseline)
    plain = View(model, ids, baseline, (mask,), targets, model, ids, baseline)
    smooth = View(
        FromEmbeddings(model, embedding),
        inside,
        inside_baseline,
        (mask,),
        targets,
        model,
        ids,
        baseline,
        Site(declared.embedding),
    )
    return Subject("reviews", plain, smooth, _inside("reviews", plain))


def _transformer() -> Subject:
    model = models.build_transformer()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(models.VOCABULARY, (MOST, models.TOKENS), generator=generator)
    baseline = torch.zeros_like(ids[:1])
    with torch.no_grad():
        targets = model(ids).argmax(1)
        inside, inside_baseline = model.embedding(ids), model.embedding(baseline)
    plain = View(model, ids, baseline, (), targets, model, ids, baseline)
    smooth = replace(
        plain,
        network=model.from_embeddings,
        inputs=inside,
        baseline=inside_baseline,
        at=Site("embedding"),
    )
    return Subject("transformer", plain, smooth, _inside("transformer", plain))


class FromEmbeddings(nn.Module):
    """The rest of the network behind the embeddings, which come in as its input."""

    def __init__(self, model: nn.Module, embedding: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._embedding = embedding

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        hook = self._embedding.register_forward_hook(lambda _module, _args, _output: embeddings)
        try:
            return self._model(torch.zeros_like(mask, dtype=torch.int64), mask)
        finally:
            hook.remove()


def _many(tensor: Tensor) -> Tensor:
    return tensor[torch.arange(MOST) % len(tensor)].contiguous()
