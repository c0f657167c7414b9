"""Steps along the sign of a loss's gradient, projected to a ball."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask

Norm = Literal["Linf", "L2"]
Tensors = tuple[Tensor, ...]

# Gradients below it are rounding: their signs are noise.
_LEAST_GRADIENT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedGradient:
    """Ascent or descent of a loss within a ball about each example.

    One step without a ball is the fast gradient sign method: Goodfellow, Shlens, Szegedy (2015),
    https://arxiv.org/abs/1412.6572, section 4. Several are projected gradient descent: Madry,
    Makelov, Schmidt, Tsipras, Vladu (2018), https://arxiv.org/abs/1706.06083, section 2.1.

    Attributes:
        step_size: The change of an element in a step.
        steps: The number of steps.
        radius: The radius of the ball, of each input tensor; None: no ball.
        norm: The norm of the ball; that of an example's elements of one tensor.
        descend: Whether to make the loss small instead of large.
        lower: The least value of an element.
        upper: The largest.
        masks: The factor of each element's change, for each input; None: 1.
    """

    step_size: float
    steps: int = 1
    radius: float | None = None
    norm: Norm = "Linf"
    descend: bool = False
    lower: float = float("-inf")
    upper: float = float("inf")
    masks: Tensors | None = None

    def flow(self, explicand: Explicand, starts: Tensors | None = None) -> Flow[Tensors]:
        """Moves each example; the explicand's target is the loss.

        Args:
            explicand: The examples.
            starts: Points to begin at; None: the examples.
        """
        points = explicand.inputs if starts is None else self.bounded(starts)
        for _ in range(self.steps):
            asked = replace(explicand, inputs=points).at_inputs(gradient=True)
            reading = yield from ask(asked)
            moved = self._moved(points, reading.gradients)
            points = self.bounded(self._projected(moved, explicand.inputs))
        return points

    def bounded(self, points: Tensors) -> Tensors:
        """Returns points clamped to the bounds of elements."""
        return tuple(t.clamp(self.lower, self.upper) for t in points)

    def _moved(self, points: Tensors, gradients: Tensors) -> Tensors:
        signed = -self.step_size if self.descend else self.step_size
        masks = self.masks or (None,) * len(points)
        moved = []
        for t, gradient, mask in zip(points, gradients, masks, strict=True):
            step = signed * gradient.sign()
            change = step if mask is None else step * mask
            there = (t + change).to(t.dtype)
            moved.append(torch.where(gradient.abs() > _LEAST_GRADIENT, there, t))
        return tuple(moved)

    def _projected(self, points: Tensors, centres: Tensors) -> Tensors:
        if self.radius is None:
            return points
        return tuple(
            centre + self._shortened(t - centre) for t, centre in zip(points, centres, strict=True)
        )

    def _shortened(self, change: Tensor) -> Tensor:
        assert self.radius is not None, "there is a ball"
        if self.norm == "Linf":
            return change.clamp(-self.radius, self.radius)
        length = norms(change)
        factor = torch.where(length > self.radius, self.radius / length, 1.0)
        return (change * factor).to(change.dtype)


def norms(change: Tensor) -> Tensor:
    """The Euclidean norm of each example's elements, (examples, 1, ..., 1), float32 at least."""
    wide = change.to(torch.promote_types(change.dtype, torch.float32))
    lengths = wide.reshape(len(wide), -1).norm(dim=1)
    return lengths.view(-1, *(1,) * (change.dim() - 1))
