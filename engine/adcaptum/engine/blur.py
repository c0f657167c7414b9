"""Gaussian blur, of any scale, and how it changes with the scale.

The kernel is the Gaussian at whole numbers, divided by its sum, and beyond its border an image goes
on as its mirror image (the border's elements twice). Such a convolution is a product in the space
of the cosine transform (DCT-II): an image is transformed once, whatever the number of scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.reduce import accumulator_dtype
from adcaptum.engine.rows import Rows

# Beyond so many standard deviations a Gaussian is 0 to double precision.
_REACH = 8.5


@dataclass(frozen=True, eq=False)
class Spectra:
    """Tensors in the space of the cosine transform over their last dimensions.

    Attributes:
        tensors: The transforms, each (examples, *features), in float32 at least.
        axes: Over how many of the last dimensions each is transformed.
    """

    tensors: tuple[Tensor, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, tensors: tuple[Tensor, ...], axes: int | None) -> Self:
        """Transforms tensors.

        Args:
            tensors: Each (examples, *features).
            axes: Over how many of the last dimensions; None: two where there are three or more
                without the examples, else one.

        Raises:
            InvalidArgument: If a tensor has fewer dimensions, or is not floating-point.
        """
        counts = []
        made = []
        for i, t in enumerate(tensors):
            dims = t.dim() - 1
            count = axes if axes is not None else (2 if dims >= 3 else 1)
            if dims < count:
                raise InvalidArgument(
                    f"inputs[{i}]",
                    f"a tensor of shape {tuple(t.shape)}",
                    f"{count} dimensions or more to blur, beside the examples",
                )
            if not t.is_floating_point():
                raise InvalidArgument(
                    f"inputs[{i}]", f"of dtype {t.dtype}", "only floating-point inputs blur"
                )
            wide = t.to(accumulator_dtype(t.dtype))
            for k in range(1, count + 1):
                wide = _along(wide, -k, _cosines(t.shape[-k]).to(wide))
            counts.append(count)
            made.append(wide)
        return cls(tuple(made), tuple(counts))


@dataclass(frozen=True, eq=False)
class Blurred(Rows):
    """Each example at each of some scales of blur.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        spectra: Their transforms.
        sigmas: The standard deviations, in elements, float64 of shape (scales,).
        slope: Whether the rows are not the blurred examples, but their derivatives by the standard
            deviation.
    """

    ends: tuple[Tensor, ...]
    spectra: Spectra
    sigmas: Tensor
    slope: bool = False

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return len(self.sigmas)

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        made = []
        for end, spectrum, axes in zip(
            self.ends, self.spectra.tensors, self.spectra.axes, strict=True
        ):
            factors = [_factors(end.shape[-k], self.sigmas[s0:s1]) for k in range(1, axes + 1)]
            product = _slopes(factors) if self.slope else _product([f for f, _ in factors])
            shape = (s1 - s0, *(1,) * (end.dim() - 1 - axes), *end.shape[end.dim() - axes :])
            rows = spectrum[e0:e1, None] * product.view(shape).to(spectrum)
            for k in range(1, axes + 1):
                rows = _along(rows, -k, _cosines(end.shape[-k]).T.to(rows))
            made.append(rows if self.slope else self._sharp(rows.to(end.dtype), end, e0, s0))
        return tuple(made)

    def _sharp(self, rows: Tensor, end: Tensor, e0: int, s0: int) -> Tensor:
        """Puts the examples themselves where the scale is 0: transforms are not exact."""
        sharp = self.sigmas[s0 : s0 + rows.shape[1]] == 0
        if bool(sharp.any()):
            rows[:, sharp.to(rows.device)] = end[e0 : e0 + len(rows), None]
        return rows


@lru_cache(maxsize=16)
def _cosines(length: int) -> Tensor:
    """The orthonormal DCT-II as a matrix, (frequencies, length), float64."""
    places = torch.arange(length, dtype=torch.float64)
    matrix = torch.cos(torch.pi / length * places[:, None] * (places + 0.5)) * sqrt(2 / length)
    matrix[0] = sqrt(1 / length)
    return matrix


def _factors(length: int, sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """What a blur multiplies each frequency with, and the derivative of that by sigma.

    Args:
        length: How many frequencies there are.
        sigmas: Float64 of shape (scales,).

    Returns:
        Both float64 of shape (scales, length).
    """
    # In powers of two, so that few sizes occur.
    reach = 1 << ceil(_REACH * float(sigmas.max())).bit_length()
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    # At scale 0 the kernel is one element, and does not change.
    spread = sigmas[:, None].clamp_min(1e-3)
    kernel = torch.softmax(-offsets.square() / (2 * spread.square()), 1)
    growth = offsets.square() / spread**3
    slopes = kernel * (growth - (kernel * growth).sum(1, keepdim=True))
    waves = _waves(length, reach)
    return kernel @ waves, slopes @ waves


@lru_cache(maxsize=16)
def _waves(length: int, reach: int) -> Tensor:
    """Each frequency at the offsets from -reach to reach, (offsets, length), float64."""
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return torch.cos(torch.pi / length * offsets[:, None] * torch.arange(length))


def _product(factors: list[Tensor]) -> Tensor:
    """Factors of the last dimension, the one before, ...: (scales, ..., before, last)."""
    whole = factors[0]
    for factor in factors[1:]:
        whole = factor.view(*factor.shape, *(1,) * (whole.dim() - 1)) * whole.unsqueeze(1)
    return whole


def _slopes(factors: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The derivative of the product, by the product rule."""
    parts = [
        _product([slope if i == k else factor for i, (factor, slope) in enumerate(factors)])
        for k in range(len(factors))
    ]
    return torch.stack(parts).sum(0)


def _along(tensor: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """Multiplies each of a tensor's vectors along a dimension by the matrix."""
    return torch.matmul(tensor.movedim(dim, -1), matrix.T).movedim(-1, dim)
