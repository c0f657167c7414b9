"""The questions: real explanations of the bundled models.

Rows of the data sets; of cells, photos and reviews also against other baselines, because there are
too few of them, or to have more than one. Gradients of reviews are those of the tokens' embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Site
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.zoo.photographs import PHOTOGRAPHS
from adcaptum.zoo.recipes import cells, digits, review_data
from adcaptum.zoo.recipes.encoder import PAD, load_tokenizer
from tests.benchmarks.subjects import bundled
from tests.benchmarks.tolerances.cases import Case

LAYERS: Final = MappingProxyType(
    {
        "cells": "hidden_1",
        "digits": "block_1",
        "photos": "blocks.10",
        "reviews": "encoder.layers.2",
    }
)
EMBEDDING: Final = "encoder.embeddings.word"
# Of so many groups every coalition is the truth.
GROUPS: Final = MappingProxyType({"cells": 15, "digits": 12, "photos": 9, "reviews": 8})
BACKGROUND: Final = MappingProxyType({"cells": 20, "digits": 20, "photos": 10})


@dataclass(frozen=True)
class Data:
    """A model, and what is asked of it.

    Attributes:
        name: The model's.
        device: Where it runs.
    """

    name: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def model(self) -> nn.Module:
        return bundled(self.name).module.to(self.device)

    @cached_property
    def _examples(self) -> list[Tensor]:
        """What is explained, each (1, *features)."""
        if self.name == "reviews":
            tokenizer = load_tokenizer()
            return [
                torch.tensor([tokenizer.encode(text).ids]) for text in review_data.load().test[:100]
            ]
        if self.name == "photos":
            return list(self._train.split(1))
        data = {"cells": cells, "digits": digits}[self.name].load()
        return list(torch.cat([data.test, data.train]).float().split(1))

    @cached_property
    def _train(self) -> Tensor:
        """What baselines are made of."""
        if self.name == "photos":
            return torch.stack([torch.from_numpy(p.crop()) for p in PHOTOGRAPHS])
        data = {"cells": cells, "digits": digits}[self.name].load()
        return data.train.float()

    @cached_property
    def _targets(self) -> list[int]:
        with torch.no_grad():
            return [
                int(self.model(*(t.to(self.device) for t in self._call(x))).argmax(1))
                for x in self._examples
            ]

    def _call(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x, torch.ones_like(x)) if self.name == "reviews" else (x,)

    def method(self, case: Case, **parameters: Any) -> Method:
        """The method of a case."""
        return resolve(METHODS[case.method], parameters)

    def question(self, case: Case, i: int) -> Explicand:
        """The i-th question."""
        turn, at = divmod(i, len(self._examples))
        x = self._examples[at]
        baselines = self._baselines(x, turn, i)
        mask = None
        if case.question == "background":
            first = BACKGROUND[self.name] * (turn % 2) if self.name != "photos" else 0
            baselines = self._train[first : first + BACKGROUND[self.name]]
            if self.name == "photos" and turn % 2:
                baselines = baselines.flip(3)
            x = x.flip(3) if self.name == "photos" and turn // 2 % 2 else x
        elif case.question == "groups":
            mask = groups(x, 10 if case.truth == "masks" else GROUPS[self.name])
        return Explicand.of(
            x.to(self.device),
            target=self._targets[at],
            baselines=baselines.to(self.device),
            background=case.question == "background",
            feature_mask=None if mask is None else mask.to(self.device),
            at=self._site(case),
            additional_forward_args=[t.to(self.device) for t in self._call(x)[1:]],
            seed=i,
        )

    def _site(self, case: Case) -> Site:
        if case.layered:
            return Site(self.layer)
        return Site(EMBEDDING) if self.embedded(case) else INPUT

    def embedded(self, case: Case) -> bool:
        """Whether the embeddings of tokens are explained, which have gradients."""
        return self.name == "reviews" and METHODS[case.method].traits.gradient and not case.layered

    @property
    def layer(self) -> str:
        """A layer to explain."""
        return LAYERS[self.name]

    def _baselines(self, x: Tensor, turn: int, i: int) -> Tensor:
        if self.name == "reviews":
            # What begins and ends the text stays.
            padded = torch.full_like(x, PAD)
            padded[:, 0], padded[:, -1] = x[:, 0], x[:, -1]
            return padded
        mean = self._train.mean(0, keepdim=True)
        if self.name == "photos":
            kinds = (torch.zeros_like(x), mean, torch.full_like(x, 0.5), torch.ones_like(x))
            return kinds[turn] if turn < len(kinds) else mean.flip(3)
        other = i % len(self._train)
        return mean if turn == 0 else self._train[other : other + 1]


def groups(like: Tensor, count: int) -> Tensor:
    """Neighbouring elements in so many groups: patches of an image, else runs."""
    elements = like[0].numel()
    if like.dim() == 2:
        return (torch.arange(elements) * count // elements).view(1, -1)
    height, width = like.shape[-2:]
    down = 3 if count % 3 == 0 else 2
    across = count // down
    rows = torch.arange(height) * down // height
    columns = torch.arange(width) * across // width
    return (rows[:, None] * across + columns).expand(like.shape)
