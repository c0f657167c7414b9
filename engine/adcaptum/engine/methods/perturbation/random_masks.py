"""Random masks over inputs, each addressed by a seed and its number, made when a batch needs it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from adcaptum.engine.games.features import Features, check_elements
from adcaptum.engine.rows.randomness import keys
from adcaptum.engine.vocabulary.explicand import Explicand

_STREAM = 29


class Masks(Protocol):
    """Masks over a tensor: the share of each element that is shown, `share` on average."""

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Makes masks start..stop, float32 from 0 to 1, or bool.

        Their shape broadcasts to (stop - start, *features).
        """
        ...


@dataclass(frozen=True, slots=True)
class GridMasks:
    """Smooth masks over images: coarse grids of on and off, enlarged and shifted.

    A grid is enlarged bilinearly to one cell more than the image, and cut to the image at a random
    place, so that no mask follows the cells' borders. All channels have the same mask.

    Petsiuk, Das, Saenko (2018), https://arxiv.org/abs/1806.07421, section 3.2.

    Attributes:
        shape: The image's shape, (..., height, width).
        cells: The most cells of the grid in each direction.
        share: The probability of a cell to be on.
        seed: The seed.
        stream: The stream of random numbers.
        antithetic: Whether masks 2k and 2k + 1 come from opposite numbers: with a share of one
            half, one shows what the other hides.
    """

    shape: tuple[int, ...]
    cells: int
    share: float
    seed: int
    stream: int
    antithetic: bool = False

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        size = self.shape[-2:]
        counts = tuple(min(self.cells, n) for n in size)
        # One cell in whole pixels, rounded up so that the cut fits.
        steps = tuple(-(-n // count) for n, count in zip(size, counts, strict=True))
        drawn = uniform(
            self.seed,
            self.stream,
            range(start, stop),
            prod(counts) + 2,
            device,
            antithetic=self.antithetic,
        )
        # Both grids of a pair are cut at the same place.
        places = drawn[:, :2]
        if self.antithetic:
            places = torch.minimum(places, 1 - places) * 2
        grids = (drawn[:, 2:] < self.share).float().view(-1, 1, *counts)
        large = tuple((count + 1) * step for count, step in zip(counts, steps, strict=True))
        masks = interpolate(grids, large, mode="bilinear", align_corners=False)[:, 0]
        for k, (length, step) in enumerate(zip(size, steps, strict=True)):
            shifts = (places[:, k] * step).long().clamp_max(step - 1)
            cut = shifts[:, None] + torch.arange(length, device=device)
            masks = masks.take_along_dim(cut.unsqueeze(2 - k), 1 + k)
        return masks.view(-1, *(1,) * (len(self.shape) - 2), *size)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMasks:
    """Masks that show or hide each feature of one tensor, apart from the others.

    Attributes:
        features: The features of the tensors.
        tensor: The number of the tensor that the masks are over.
        share: The probability of a feature to be shown.
        seed: The seed.
        stream: The stream of random numbers.
        antithetic: As of `GridMasks`.
    """

    features: Features
    tensor: int
    share: float
    seed: int
    stream: int
    antithetic: bool = False

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        count, which = self.features.count, range(start, stop)
        drawn = uniform(self.seed, self.stream, which, count, device, antithetic=self.antithetic)
        return self.features.select(drawn < self.share)[self.tensor]


def masks_over(
    explicand: Explicand,
    tensors: tuple[Tensor, ...],
    cells: int,
    share: float,
    *,
    antithetic: bool = False,
) -> tuple[Masks, ...]:
    """The masks for each tensor: grids over images, features switched on and off over the others.

    An image has three dimensions or more without its examples. With a feature mask nothing counts
    as an image.
    """
    seed = explicand.seed
    if explicand.feature_mask is not None:
        features = Features.of(explicand, tensors)
        return tuple(
            FeatureMasks(features, i, share, seed, _STREAM, antithetic) for i in range(len(tensors))
        )
    made: list[Masks] = []
    for i, t in enumerate(tensors):
        check_elements(explicand, tensors, i)
        stream = _STREAM + (i << 8)
        if is_image(t):
            made.append(GridMasks(tuple(t.shape[1:]), cells, share, seed, stream, antithetic))
        else:
            features = Features.of(explicand, (t,))
            made.append(FeatureMasks(features, 0, share, seed, stream, antithetic))
    return tuple(made)


def is_image(tensor: Tensor) -> bool:
    """True if a tensor is seen through grids: floating-point, three dimensions or more each."""
    return tensor.dim() > 3 and tensor.is_floating_point()


def uniform(
    seed: int,
    stream: int,
    samples: range,
    numbers: int,
    device: torch.device,
    *,
    antithetic: bool = False,
) -> Tensor:
    """Numbers from [0, 1) for each of the samples, float32 of shape (samples, numbers).

    Antithetic ones of samples 2k and 2k + 1 sum to just under 1.
    """
    rows = torch.arange(samples.start, samples.stop, device=device)[:, None]
    of = rows.div(2, rounding_mode="floor") if antithetic else rows
    drawn = keys(seed, stream, of * numbers + torch.arange(numbers, device=device)) >> 39
    if antithetic:
        drawn = torch.where(rows % 2 == 0, drawn, (1 << 24) - 1 - drawn)
    # float32 holds 24 bits exactly.
    return drawn.float() * 2.0**-24
