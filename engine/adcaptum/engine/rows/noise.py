"""Lazy rows that are drawn at random, each at its own address."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import generator, normal
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows, column, copied

# Streams: the purposes of draws.
NOISE = 1
CHOICE = 2
_BLOCK = 32
_BLOCK_NUMBERS = 4096


@dataclass(frozen=True, eq=False)
class Noisy(Rows):
    """Each example with Gaussian noise, again and again.

    All examples see the same standard normal draws, scaled by their own scales.

    Attributes:
        tensors: Each (examples, *features).
        scales: The standard deviation for each element; each broadcasts to its tensor.
        seed: The request's seed.
        first: The number of the first sample.
        samples: The number of samples of each example.
        antithetic: Whether samples 2k and 2k + 1 have opposite noise.
    """

    tensors: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]
    seed: int
    first: int
    samples: int
    antithetic: bool = False

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.tensors

    @property
    def per_example(self) -> int:
        return self.samples

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        first, end = self.first + s0, self.first + s1
        return tuple(
            t[e0:e1, None] + scale.expand_as(t)[e0:e1, None] * self._noise(i, t, first, end)
            for i, (t, scale) in enumerate(zip(self.tensors, self.scales, strict=True))
        )

    def _noise(self, i: int, like: Tensor, first: int, end: int) -> Tensor:
        if not self.antithetic:
            return draw_noise(self.seed, i, like, first, end)
        start = first // 2
        drawn = draw_noise(self.seed, i, like, start, (end + 1) // 2)
        both = torch.stack([drawn, -drawn], 1).flatten(0, 1)
        return both[first - 2 * start : end - 2 * start]


@dataclass(frozen=True, eq=False)
class Lines(Rows):
    """Random points on the lines from random baselines to each example.

    Sample s lies at fraction alphas[s] on the line from baseline choices[s] to the example, to
    which noise is added first.

    Attributes:
        ends: Each (examples, *features).
        starts: Each (examples or 1, baselines, *features).
        choices: int64 of shape (samples,).
        alphas: float64 of shape (samples,).
        stdev: The standard deviation of the noise, or one for each tensor; 0: none.
        seed: Where the noise begins.
        first: The number of the first sample.
        displacement: Whether the rows are the lines' differences, end less start, and not points;
            in float32 at least.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    choices: Tensor
    alphas: Tensor
    stdev: float | tuple[float, ...]
    seed: int
    first: int
    displacement: bool = False

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return len(self.alphas)

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        made = []
        for i, (end, start) in enumerate(zip(self.ends, self.starts, strict=True)):
            of_examples = start if len(start) == 1 else start[e0:e1]
            starts = of_examples[:, self.choices[s0:s1].to(start.device, non_blocking=True)]
            ends = end[e0:e1, None]
            stdev = self.stdev[i] if isinstance(self.stdev, tuple) else self.stdev
            if stdev:
                noise = draw_noise(self.seed, i, end, self.first + s0, self.first + s1)
                ends = ends + stdev * noise
            if self.displacement:
                wide = accumulator_dtype(end.dtype)
                made.append(ends.to(wide) - starts.to(wide))
            else:
                made.append(torch.lerp(starts, ends, column(self.alphas[s0:s1], end)))
        return tuple(made)


def draw_noise(seed: int, i: int, like: Tensor, first: int, end: int) -> Tensor:
    """Standard normal numbers for samples first..end of input i, (samples, *features)."""
    # Samples are addressed by blocks of a fixed size: a generator for each would cost more than
    # the numbers of a small one.
    block = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(1, like[0].numel())))
    shape = block, *like.shape[1:]
    blocks = range(first // block, (end - 1) // block + 1)
    drawn = [normal(seed, NOISE + (i << 8), b, shape) for b in blocks]
    skipped = blocks[0] * block
    return copied(torch.cat(drawn)[first - skipped : end - skipped], like)


def choose_lines(seed: int, first: int, samples: int, baselines: int) -> tuple[Tensor, Tensor]:
    """Draws, for each sample, a baseline's number and a fraction of the way, each (samples,)."""
    blocks = range(first // _BLOCK, (first + samples - 1) // _BLOCK + 1)
    drawn = [
        torch.rand(_BLOCK, 2, generator=generator(seed, CHOICE, b), dtype=torch.float64)
        for b in blocks
    ]
    skipped = first - blocks[0] * _BLOCK
    draws = torch.cat(drawn)[skipped : skipped + samples]
    return (draws[:, 0] * baselines).to(torch.int64), draws[:, 1]


def noise_scales(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The range of each example's values, which SmoothGrad's noise level is relative to."""
    return tuple(_range(t.reshape(len(t), -1)).view(-1, *(1,) * (t.dim() - 1)) for t in tensors)


def _range(flat: Tensor) -> Tensor:
    """The range of each row's numbers; 0 of no numbers."""
    return flat.amax(1) - flat.amin(1) if flat.shape[1] else flat.sum(1)
