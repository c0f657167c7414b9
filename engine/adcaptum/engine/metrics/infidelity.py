"""Infidelity: the error of attributions as a linear model of the output's changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adcaptum.engine.metrics.score import Score, mean_score
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask

Tensors = tuple[Tensor, ...]
Draw = Callable[[int], tuple[Tensors, Tensors]]
"""Makes, for a number of samples, perturbations and perturbed inputs, an example's one after
another: (examples * samples, *features) each."""


@dataclass(frozen=True, slots=True, eq=False)
class Infidelity:
    """E[(perturbation . attributions - (f(x) - f(perturbed x)))^2].

    Yeh, Hsieh, Suggala, Inouye, Ravikumar (2019), https://arxiv.org/abs/1901.09392, definition 2.1;
    with `normalize` of the attributions times the factor that makes it least, for each example.

    Attributes:
        draw: Makes the perturbations.
        samples: The number of samples that are drawn at once, for each draw.
        normalize: Whether the attributions' scale does not count.
    """

    draw: Draw
    samples: Sequence[int]
    normalize: bool = False

    def flow(self, explicand: Explicand, attributions: Tensors) -> Flow[Score]:
        """Measures attributions, each of its input's shape."""
        at_inputs = yield from ask(explicand.at_inputs())
        output = at_inputs.values.double()
        said, done = [], []
        for size in self.samples:
            perturbations, perturbed = self.draw(size)
            asked = replace(explicand.repeated(size), inputs=perturbed).at_inputs()
            reading = yield from ask(asked)
            changes = output[:, None] - reading.values.double().view(len(output), size)
            done.append(changes)
            said.append(_products(attributions, perturbations, size).to(changes.device))
        by_attributions, by_model = torch.cat(said, 1), torch.cat(done, 1)
        if self.normalize:
            by_attributions = by_attributions * _best_factor(by_attributions, by_model)
        return mean_score((by_attributions - by_model).square(), at_inputs.values.dtype)


def _products(attributions: Tensors, perturbations: Tensors, size: int) -> Tensor:
    """The sum of attributions times perturbations, float64 of shape (examples, samples)."""
    total: Tensor | float = 0.0
    for a, p in zip(attributions, perturbations, strict=True):
        samples = p.double().reshape(len(a), size, -1)
        total = total + (samples * a.detach().double().reshape(len(a), 1, -1)).sum(2)
    assert isinstance(total, Tensor), "there is an input"
    return total


def _best_factor(by_attributions: Tensor, by_model: Tensor) -> Tensor:
    """The factor of each example that brings one nearest to the other, (examples, 1)."""
    square = by_attributions.square().sum(1, keepdim=True)
    product = (by_attributions * by_model).sum(1, keepdim=True)
    return torch.where(square > 0, product / square, 0)
