"""The kernels of LIME: the similarity of a perturbed example to the example itself.

A coalition's distance is a sum over the features that it changes: no perturbed example is made for
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from adcaptum.engine.games.features import Features
from adcaptum.engine.games.game import exact

Distance = Literal["cosine", "euclidean"]

_SMALLEST_NORM = 1e-8


@dataclass(frozen=True, slots=True)
class ExponentialKernel:
    """exp(-distance^2 / (2 width^2)), Ribeiro, Singh, Guestrin (2016), section 3.4.

    Attributes:
        distance: Between all elements of an example and those of its perturbation: one less the
            cosine of their angle, or the length of their difference. A perturbation without any
            length has a cosine of zero. Elements that are not a number count as zero.
        width: The distance at which the kernel has fallen to exp(-1/2).
        together: Whether the distance is that of all examples' elements together.
    """

    distance: Distance
    width: float
    together: bool = False

    def weights(
        self,
        ends: tuple[Tensor, ...],
        starts: tuple[Tensor, ...],
        features: Features,
        coalitions: Tensor,
    ) -> Tensor:
        """The similarity of each example to itself with each coalition of its features.

        Args:
            ends: The examples, each (examples, *features).
            starts: Their baselines, of the same shapes.
            features: The features of the elements.
            coalitions: bool of shape (coalitions, features).

        Returns:
            float64 of shape (examples, coalitions), on the CPU.
        """
        present = coalitions.cpu().double()
        x = tuple(exact(t).nan_to_num() for t in ends)
        x0 = tuple(exact(t).nan_to_num() for t in starts)
        if self.distance == "euclidean":
            gaps = tuple((a - b).square() for a, b in zip(x, x0, strict=True))
            squares = self._totals(features, gaps) @ (1 - present).T
        else:
            own = self._totals(features, tuple(t.square() for t in x))
            mixed = self._totals(features, tuple(a * b for a, b in zip(x, x0, strict=True)))
            other = self._totals(features, tuple(t.square() for t in x0))
            squares = (1 - _cosines(own, mixed, other, present)).square()
        # A product: the power of a large width raises OverflowError, where this is infinite.
        return (squares / (-2 * self.width * self.width)).exp()

    def _totals(self, features: Features, numbers: tuple[Tensor, ...]) -> Tensor:
        totals = features.totals(numbers)
        return totals.sum(0, keepdim=True).expand_as(totals) if self.together else totals


def _cosines(own: Tensor, mixed: Tensor, other: Tensor, present: Tensor) -> Tensor:
    """The cosines of examples and perturbed ones, from each feature's share of the products."""
    product = own @ present.T + mixed @ (1 - present).T
    length = (own @ present.T + other @ (1 - present).T).sqrt().clamp_min(_SMALLEST_NORM)
    return product / (own.sum(1, keepdim=True).sqrt().clamp_min(_SMALLEST_NORM) * length)
