"""Gaussian blur of any scale, and its derivative by the scale.

The kernel is the Gaussian at whole numbers, divided by its sum, and beyond its border an image goes
on as its mirror image (the border's elements twice). Such a convolution is a product in the space
of the cosine transform (DCT-II): an image is transformed once, whatever the number of scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows

# The standard deviations beyond which a Gaussian is 0 in double precision.
_REACH = 8.5
# The width of a blur, in lengths of the image, from which on only the mean is left.
_MOST_LENGTHS = 3


@dataclass(frozen=True, eq=False)
class Spectra:
    """Tensors in the space of the cosine transform over their last dimensions.

    Attributes:
        tensors: The transforms, each (examples, *features), in float32 at least.
        axes: The number of each one's last dimensions that are transformed.
    """

    tensors: tuple[Tensor, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, tensors: tuple[Tensor, ...], axes: int | None) -> Self:
        """Transforms tensors.

        Args:
            tensors: Each (examples, *features).
            axes: The number of last dimensions; None: two where there are three or more
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
            for k in range(1, count + 1 if t.numel() else 1):
                wide = cosine_transform(wide, -k)
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
            if not end.numel():
                made.append(end[e0:e1, None].expand(-1, s1 - s0, *end.shape[1:]))
                continue
            lengths = end.shape[end.dim() - axes :]
            factors = [_factors(n, self.sigmas[s0:s1]) for n in lengths]
            product = _slopes(factors) if self.slope else _product([f for f, _ in factors])
            shape = (s1 - s0, *(1,) * (end.dim() - 1 - axes), *product.shape[1:])
            rows = spectrum[e0:e1, None] * product.view(shape).to(spectrum)
            for k in range(1, axes + 1):
                rows = inverse_cosine_transform(rows, -k)
            made.append(rows if self.slope else self._sharp(rows.to(end.dtype), end, e0, s0))
        return tuple(made)

    def _sharp(self, rows: Tensor, end: Tensor, e0: int, s0: int) -> Tensor:
        """Replaces rows of scale 0 by the examples themselves: transforms are not exact."""
        sharp = self.sigmas[s0 : s0 + rows.shape[1]] == 0
        if bool(sharp.any()):
            rows[:, sharp.to(rows.device)] = end[e0 : e0 + len(rows), None]
        return rows


def cosine_transform(tensor: Tensor, dim: int) -> Tensor:
    """The DCT-II along a dimension, of one element at least.

    Makhoul (1980), https://doi.org/10.1109/TASSP.1980.1163351: by a Fourier transform of the same
    length, of the elements of even number and then those of odd number backwards.
    """
    x = tensor.movedim(dim, -1)
    mixed = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    turned = torch.fft.fft(mixed) * _turns(x.shape[-1], x).conj()
    return turned.real.movedim(-1, dim)


def inverse_cosine_transform(tensor: Tensor, dim: int) -> Tensor:
    """The inverse of the DCT-II along a dimension."""
    x = tensor.movedim(dim, -1)
    length = x.shape[-1]
    half = length // 2 + 1
    backwards = torch.cat([torch.zeros_like(x[..., :1]), x[..., length - half + 1 :].flip(-1)], -1)
    turned = torch.complex(x[..., :half], -backwards) * _turns(length, x)[:half]
    mixed = torch.fft.irfft(turned, length)
    made = torch.empty_like(mixed)
    even = (length + 1) // 2
    made[..., ::2] = mixed[..., :even]
    made[..., 1::2] = mixed[..., even:].flip(-1)
    return made.movedim(-1, dim)


def _turns(length: int, like: Tensor) -> Tensor:
    """Quarter turns and less, one for each frequency, complex of shape (length,)."""
    angles = torch.arange(length, dtype=like.dtype, device=like.device) * (torch.pi / (2 * length))
    return torch.polar(torch.ones_like(angles), angles)


def _factors(length: int, sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """The factor of each frequency in a blur, and its derivative by sigma.

    Args:
        length: The number of frequencies.
        sigmas: Float64 of shape (scales,).

    Returns:
        Both float64 of shape (scales, length).
    """
    # At scale 0 the kernel is one element, and does not change.
    spread = sigmas[:, None].clamp(1e-3, _MOST_LENGTHS * length)
    reach = ceil(_REACH * float(spread.max()))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.softmax(-offsets.square() / (2 * spread.square()), 1)
    growth = offsets.square() / spread**3
    slopes = kernel * (growth - (kernel * growth).sum(1, keepdim=True))
    # With its mirror image a dimension is periodic, and so is its convolution.
    places = offsets.long() % (2 * length)
    wrapped = kernel.new_zeros(2, len(kernel), 2 * length)
    wrapped.index_add_(2, places, torch.stack([kernel, slopes]))
    factors, derivatives = torch.fft.fft(wrapped).real[..., :length]
    return factors, derivatives


def _product(factors: list[Tensor]) -> Tensor:
    """The factors of all dimensions together, (scales, *frequencies)."""
    whole = factors[-1]
    for factor in reversed(factors[:-1]):
        whole = factor.view(*factor.shape, *(1,) * (whole.dim() - 1)) * whole.unsqueeze(1)
    return whole


def _slopes(factors: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The derivative of the product, by the product rule."""
    parts = [
        _product([slope if i == k else factor for i, (factor, slope) in enumerate(factors)])
        for k in range(len(factors))
    ]
    return torch.stack(parts).sum(0)
