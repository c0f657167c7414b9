"""Randomness that is addressed, never drawn in order.

A draw is named by the request's seed, a stream (what it is for) and a sample's number. So an
answer depends on the request alone: not on what shares the batch, on how rows were cut into
batches, nor on an example's place among others. All examples of a request see the same draws
(common random numbers).
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def address(seed: int, stream: int, sample: int) -> int:
    """Mixes the three numbers to 64 bits (SplitMix64: Steele et al. 2014, section 5)."""
    state = seed & _MASK
    for part in (stream, sample):
        state = (state + 0x9E3779B97F4A7C15 * (2 * part + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def generator(seed: int, stream: int, sample: int, device: torch.device) -> torch.Generator:
    """A generator on the device that begins at the address; the global one is left alone."""
    return torch.Generator(device=device).manual_seed(address(seed, stream, sample))


def normal(seed: int, stream: int, sample: int, like: Tensor) -> Tensor:
    """Standard normal numbers of `like`'s shape, dtype and device."""
    # The kernels of other dtypes draw other numbers: drawn in float32, all dtypes agree.
    source = generator(seed, stream, sample, like.device)
    drawn = torch.randn(like.shape, generator=source, dtype=torch.float32, device=like.device)
    return drawn.to(like.dtype)
