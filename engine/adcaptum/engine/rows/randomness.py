"""Random numbers by address, independent of the order of drawing.

The address is the request's seed, a stream (the purpose) and a sample's number. So an answer
depends on the request alone: not on the other rows of a batch, on the cuts between batches, nor on
an example's place among others, nor on the device. All examples of a request see the same draws
(common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence

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


def generator(seed: int, stream: int, sample: int) -> torch.Generator:
    """Returns a generator that begins at the address; the global one is unchanged.

    It draws on the CPU, whatever the rows are on: the generators of other devices give other
    numbers, and an answer depends on the request alone.
    """
    return torch.Generator().manual_seed(address(seed, stream, sample))


def normal(seed: int, stream: int, sample: int, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of a shape, float32 on the CPU."""
    # The kernels of other dtypes draw other numbers: drawn in float32, all dtypes agree.
    source = generator(seed, stream, sample)
    return torch.randn(*shape, generator=source, dtype=torch.float32, device="cpu")


def keys(seed: int, stream: int, samples: Tensor) -> Tensor:
    """A random whole number for each sample's number, the same on every device.

    SplitMix64's output function (Steele et al. 2014, section 5) of the address and the number, so
    that many draws are made by a few operations on the samples' device.

    Args:
        seed: The request's seed.
        stream: The purpose of the draws.
        samples: int64 of any shape.

    Returns:
        int64 of that shape, from 0 to 2**63 - 1.
    """
    state = (samples * _signed(0x9E3779B97F4A7C15)).add_(_signed(address(seed, stream, 0)))
    state = _shifted(state, 30).bitwise_xor_(state).mul_(_signed(0xBF58476D1CE4E5B9))
    state = _shifted(state, 27).bitwise_xor_(state).mul_(_signed(0x94D049BB133111EB))
    return _shifted(_shifted(state, 31).bitwise_xor_(state), 1)


def _shifted(numbers: Tensor, by: int) -> Tensor:
    """A shift to the right of unsigned numbers that are held in int64, in new memory."""
    return (numbers >> by).bitwise_and_((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    """The int64 of the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number
