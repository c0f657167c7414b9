"""Images whose removed pixels are filled in from their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import normal
from adcaptum.engine.rows.sources import Rows

# The purpose of these draws among those of a request.
_STREAM = 42
# Of the residual, relative to the image: far below the noise that is added.
_TOLERANCE = 1e-5
_MOST_ROUNDS = 2000


@dataclass(frozen=True, eq=False)
class Imputed(Rows):
    """Each image without its first pixels in an order, which are filled in and made noisy.

    Noisy linear imputation: Rong, Leemann, Borisov, Kasneci, Kasneci (2022),
    https://arxiv.org/abs/2202.00449: each removed pixel is the weighted mean of its neighbours,
    known or removed.

    Attributes:
        images: Of shape (examples, channels, height, width).
        ranks: The rank of each pixel, from 0, int64 of shape (examples, 1, height, width).
        removed: The number of pixels that are removed in each sample, int64 of shape (samples,).
        noise: The standard deviation of the noise.
        seed: Where the noise begins.
    """

    images: Tensor
    ranks: Tensor
    removed: Tensor
    noise: float
    seed: int

    @property
    def like(self) -> tuple[Tensor, ...]:
        return (self.images,)

    @property
    def per_example(self) -> int:
        return len(self.removed)

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        counts = self.removed[s0:s1].to(self.images.device).view(1, -1, 1, 1, 1)
        missing = (self.ranks[e0:e1, None] < counts).flatten(0, 1)
        many = self.images[e0:e1, None].expand(-1, s1 - s0, -1, -1, -1).flatten(0, 1)
        shape = self.images.shape[1:]
        noise = torch.stack([normal(self.seed, _STREAM, s, shape) for s in range(s0, s1)])
        noisy = filled(many, missing) + self.noise * noise.to(many).repeat(e1 - e0, 1, 1, 1)
        return (torch.where(missing, noisy, many).unflatten(0, (e1 - e0, s1 - s0)),)


def filled(images: Tensor, missing: Tensor) -> Tensor:
    """Fills in missing pixels, each the weighted mean of its neighbours within the image.

    The linear equations are solved by conjugate gradients, each image and channel by itself: the
    matrix of weights less their sums is symmetric and definite, unless all pixels are missing.

    Args:
        images: Of shape (images, channels, height, width).
        missing: bool of shape (images, 1, height, width).
    """
    height, width = images.shape[2:]
    wide = torch.promote_types(images.dtype, torch.float32)
    flat = images.reshape(-1, height, width).to(wide)
    unknown = missing.expand(images.shape).reshape(flat.shape).to(wide)
    sums = _neighbours(torch.ones_like(flat[:1]))

    def applied(x: Tensor) -> Tensor:
        return (sums * x).sub_(_neighbours(x)).mul_(unknown)

    def product(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum((1, 2), keepdim=True)

    known = flat * (1 - unknown)
    # Near the mean of what is known; an image without missing pixels has nothing to solve.
    mean = known.sum((1, 2), keepdim=True) / (1 - unknown).sum((1, 2), keepdim=True).clamp(min=1)
    x = unknown * mean
    residual = unknown * _neighbours(known) - applied(x)
    direction, size = residual, product(residual, residual)
    goal = _TOLERANCE**2 * product(flat, flat)
    for _ in range(_MOST_ROUNDS):
        # Those that are done stay as they are: a row does not depend on its neighbours.
        going = size > goal
        if not bool(going.any()):
            break
        along = applied(direction)
        step = torch.where(going, size / product(direction, along), 0)
        x = x + step * direction
        residual = residual - step * along
        now = product(residual, residual)
        share = torch.where(going, now / size, 0)
        direction = torch.where(going, residual + share * direction, direction)
        size = torch.where(going, now, size)
    return (known + x).view(images.shape).to(images.dtype)


def _neighbours(x: Tensor) -> Tensor:
    """The weighted sum of each pixel's neighbours: 2 for direct ones, 1 for diagonal ones.

    The weights are the product of (1, 2, 1) along rows and columns, less 4 for the pixel itself.
    """
    rows = 2 * x
    rows[:, 1:] += x[:, :-1]
    rows[:, :-1] += x[:, 1:]
    both = 2 * rows
    both[:, :, 1:] += rows[:, :, :-1]
    both[:, :, :-1] += rows[:, :, 1:]
    return both.sub_(x, alpha=4)
