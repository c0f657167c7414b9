"""Counts, moments, extremes and sums of a stream of samples.

Values are accumulated in float64 (float32 on devices without), sums of integers in int64. Means,
sums and squared deviations of floating-point samples come in the samples' dtype but at least in
float32, variances and standard deviations in the dtype in which they were accumulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from adcaptum.attr.statistics.stat import Stat
from adcaptum.engine.rows.moments import Summary, merged
from adcaptum.engine.rows.reduce import accumulator_dtype

# Devices without float64.
_WIDEST = {"mps": torch.float32}


def _wide(x: Tensor) -> Tensor:
    return x.detach().to(_WIDEST.get(x.device.type, torch.float64))


def _narrow(result: Tensor, samples: torch.dtype) -> Tensor:
    """Copies a result to the dtype of results for samples of that dtype."""
    dtype = accumulator_dtype(samples) if samples.is_floating_point else result.dtype
    return result.to(dtype, copy=True)


class Count(Stat):
    """The number of samples, an int."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self._n = 0

    def init(self) -> None:
        self._n = 0

    def update(self, x: Tensor) -> None:  # noqa: ARG002 - only counted
        self._n += 1

    def merge(self, other: Self) -> None:
        self._n += other.get() or 0

    def get(self) -> int | None:
        return self._n or None


class Moments(Stat):
    """The mean and the sum of squared deviations, from which other statistics are computed.

    Welford (1962), "Note on a method for calculating corrected sums of squares and products":
    stable where E[a^2] - E[a]^2 cancels. Its tensors are its own and written in place.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.init()

    def init(self) -> None:
        self.dtype = torch.bool
        self._summary: Summary | None = None

    def update(self, x: Tensor) -> None:
        sample = _wide(x)
        if self._summary is None or self._summary[1].shape != sample.shape:
            self._take((1, sample, torch.zeros_like(sample)))
        else:
            n, mean, squares = self._summary
            delta = sample - mean
            mean.add_(delta, alpha=1 / (n + 1))
            squares.addcmul_(delta, delta, value=n / (n + 1))
            self._summary = n + 1, mean, squares
        self.dtype = torch.promote_types(self.dtype, x.dtype)

    def merge(self, other: Self) -> None:
        if other.summary is not None:
            self._take(other.summary)
        self.dtype = torch.promote_types(self.dtype, other.dtype)

    @property
    def summary(self) -> Summary | None:
        """The number of samples, mean and sum of squared deviations; None before the first."""
        return self._summary

    def get(self) -> None:
        """Returns None: `summary` has the values."""

    def _take(self, samples: Summary) -> None:
        if self._summary is None:
            n, mean, squares = samples
            self._summary = n, mean.clone(), squares.clone()
        else:
            self._summary = merged(self._summary, samples)


class _OfMoments(Stat):
    """A statistic computed from the moments, without a state of its own."""

    @property
    def dependencies(self) -> tuple[Stat, ...]:
        return (Moments(),)

    @property
    def _moments(self) -> Moments:
        return self._required(Moments())

    def update(self, x: Tensor) -> None:
        """Does nothing: the moments have taken the sample."""

    def merge(self, other: Self) -> None:
        """Does nothing: the moments are merged."""


class Mean(_OfMoments):
    """The mean, elementwise; float64 for samples that are not floating-point."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def get(self) -> Tensor | None:
        summary = self._moments.summary
        return None if summary is None else _narrow(summary[1], self._moments.dtype)


class MSE(_OfMoments):
    """The sum (as in Captum, not the mean) of squared deviations from the mean."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def get(self) -> Tensor | None:
        summary = self._moments.summary
        return None if summary is None else _narrow(summary[2], self._moments.dtype)


class Var(_OfMoments):
    """The sum of squared deviations from the mean over (samples - order).

    Order 0 is the population's variance, 1 the sample's; zeros where samples <= order.
    """

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        super().__init__(name=_with_order("variance", order) if name is None else name, order=order)
        self.order = order

    def get(self) -> Tensor | None:
        summary = self._moments.summary
        if summary is None:
            return None
        n, _, squares = summary
        return squares / (n - self.order) if n > self.order else torch.zeros_like(squares)


class StdDev(Stat):
    """The square root of the variance of that order."""

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        super().__init__(name=_with_order("std_dev", order) if name is None else name, order=order)
        self.order = order

    @property
    def dependencies(self) -> tuple[Stat, ...]:
        return (Var(order=self.order),)

    def update(self, x: Tensor) -> None:
        """Does nothing: the variance has taken the sample."""

    def merge(self, other: Self) -> None:
        """Does nothing: the variance is merged."""

    def get(self) -> Tensor | None:
        variance = self._required(Var(order=self.order)).get()
        return None if variance is None else variance.sqrt()


class GeneralAccumFn(Stat):
    """The left fold of a function of two tensors over the stream."""

    def __init__(self, fn: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> None:
        super().__init__(name=name)
        self.fn = fn
        self.result: Tensor | None = None

    def init(self) -> None:
        self.result = None

    def update(self, x: Tensor) -> None:
        # A copy: the caller may write into the sample.
        x = x.detach()
        self.result = x.clone() if self.result is None else self.fn(self.result, x)

    def merge(self, other: Self) -> None:
        if other.result is not None:
            self.update(other.result)

    def get(self) -> Tensor | None:
        return self.result

    def __eq__(self, other: object) -> bool:
        return Stat.__eq__(self, other) and self.fn == getattr(other, "fn", None)

    __hash__ = Stat.__hash__


class Min(GeneralAccumFn):
    """The least, elementwise."""

    def __init__(
        self, name: str | None = None, min_fn: Callable[[Tensor, Tensor], Tensor] = torch.min
    ) -> None:
        super().__init__(name=name, fn=min_fn)


class Max(GeneralAccumFn):
    """The greatest, elementwise."""

    def __init__(
        self, name: str | None = None, max_fn: Callable[[Tensor, Tensor], Tensor] = torch.max
    ) -> None:
        super().__init__(name=name, fn=max_fn)


class Sum(GeneralAccumFn):
    """The sum, elementwise; int64 for samples that are integers or bool."""

    def __init__(
        self, name: str | None = None, add_fn: Callable[[Tensor, Tensor], Tensor] = torch.add
    ) -> None:
        super().__init__(name=name, fn=add_fn)
        self.dtype = torch.bool

    def init(self) -> None:
        self.result = None
        self.dtype = torch.bool

    def update(self, x: Tensor) -> None:
        self.dtype = torch.promote_types(self.dtype, x.dtype)
        super().update(_wide(x) if x.is_floating_point() else x.long())

    def merge(self, other: Self) -> None:
        self.dtype = torch.promote_types(self.dtype, other.dtype)
        if other.result is not None:
            super().update(other.result)

    def get(self) -> Tensor | None:
        return None if self.result is None else _narrow(self.result, self.dtype)


def CommonStats() -> list[Stat]:  # noqa: N802 - Captum's name
    """The mean, the sample's variance and standard deviation, the least and the greatest."""
    return [Mean(), Var(order=1), StdDev(order=1), Min(), Max()]


def _with_order(name: str, order: int) -> str:
    return {0: name, 1: f"sample_{name}"}.get(order, f"{name}({order})")
