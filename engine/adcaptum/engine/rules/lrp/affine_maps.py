"""Affine maps: operations with a weight, as the rules of relevance propagation see them.

A rule evaluates a map with changed inputs and changed weights (positive parts, squares, ones), and
its transpose. Both are explicit here: no module is called, and no weight is written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["linear", "convolution", "batch_norm"]


class AffineMap(Protocol):
    """y = W x + b.

    Attributes:
        weight: W, in whatever layout.
        bias: b, one number per output channel; None: 0.
    """

    @property
    def weight(self) -> Tensor: ...

    @property
    def bias(self) -> Tensor | None: ...

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns W x for a given W, without the bias."""
        ...

    def transposed(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        """Returns W' s for a given W, of the shape of x."""
        ...

    def of_ones(self, weight: Tensor, x: Tensor) -> Tensor:
        """Returns W 1 for a given W and ones of the shape of x; it broadcasts to the output."""
        ...

    def shift(self, bias: Tensor) -> Tensor:
        """Returns a bias in the shape in which it broadcasts to the output."""
        ...

    def followed(self, scale: Tensor, shift: Tensor, dims: int) -> AffineMap | None:
        """Returns the map followed by a batch norm; None if that is no map of this form.

        Args:
            scale: The factor of each channel of the output (its dimension 1).
            shift: The number added to each channel afterwards.
            dims: The number of dimensions of the output.
        """
        ...

    def shifted(self, constant: Tensor) -> AffineMap | None:
        """Returns the map with a constant added to its output; None if it is not one per channel.

        A constant with a dimension for rows is not: it may differ between rows of another batch.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """y = x W' + b on the last dimension; the weight is (out, in)."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight)

    def transposed(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return torch.matmul(s, weight)

    def of_ones(self, weight: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return weight.sum(1)

    def shift(self, bias: Tensor) -> Tensor:
        return bias

    def followed(self, scale: Tensor, shift: Tensor, dims: int) -> Linear | None:
        if dims != 2:
            return None
        return Linear(self.weight * scale[:, None], _after(self.bias, scale, shift))

    def shifted(self, constant: Tensor) -> Linear | None:
        channels = len(self.weight)
        if constant.shape != (channels,):
            return None
        return Linear(self.weight, _plus(self.bias, constant.reshape(channels)))


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution, transposed or not, of one to three dimensions."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transpose: bool
    output_padding: tuple[int, ...]
    groups: int

    @property
    def spatial(self) -> int:
        """The number of convolved dimensions."""
        return self.weight.dim() - 2

    @property
    def channels(self) -> int:
        """The number of channels of the output."""
        return self.weight.shape[1] * self.groups if self.transpose else self.weight.shape[0]

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.convolution(
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transpose,
            self.output_padding,
            self.groups,
        )

    def transposed(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        back, _, _ = torch.ops.aten.convolution_backward(
            s,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transpose,
            self.output_padding,
            self.groups,
            [True, False, False],
        )
        return back

    def of_ones(self, weight: Tensor, x: Tensor) -> Tensor:
        # With padding the sums differ from place to place, but not from row to row.
        return self.apply(torch.ones_like(x[:1]), weight)

    def shift(self, bias: Tensor) -> Tensor:
        return bias.reshape(-1, *(1,) * self.spatial)

    def followed(self, scale: Tensor, shift: Tensor, dims: int) -> Convolution | None:
        if dims != self.spatial + 2:
            return None
        weight, ones = self.weight, (1,) * self.spatial
        if self.transpose:
            # (in, out / groups, ...): the groups stand one after another in the first dimension.
            parts = weight.reshape(self.groups, -1, *weight.shape[1:])
            weight = (parts * scale.reshape(self.groups, 1, -1, *ones)).reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, 1, *ones)
        return replace(self, weight=weight, bias=_after(self.bias, scale, shift))

    def shifted(self, constant: Tensor) -> Convolution | None:
        channels = self.channels
        if constant.shape != (channels, *(1,) * self.spatial):
            return None
        return replace(self, bias=_plus(self.bias, constant.reshape(channels)))


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """A factor and a summand for each channel of dimension 1: a batch norm in eval mode."""

    weight: Tensor
    bias: Tensor
    dims: int

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return x * self.shift(weight)

    def transposed(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return s * self.shift(weight)

    def of_ones(self, weight: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return self.shift(weight)

    def shift(self, bias: Tensor) -> Tensor:
        return bias.reshape(-1, *(1,) * (self.dims - 2))

    def followed(self, scale: Tensor, shift: Tensor, dims: int) -> Scaling | None:  # noqa: ARG002
        return replace(self, weight=self.weight * scale, bias=self.bias * scale + shift)

    def shifted(self, constant: Tensor) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """Any function that is linear in its argument and in a weight: `matmul`, `einsum` and the like.

    Attributes:
        function: (x, weight) -> y.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None = None

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.function(x, weight)

    def transposed(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            y = self.function(point, weight)
            (back,) = torch.autograd.grad(y, point, s)
        return back

    def of_ones(self, weight: Tensor, x: Tensor) -> Tensor:
        return self.function(torch.ones_like(x), weight)

    def shift(self, bias: Tensor) -> Tensor:
        return bias

    def followed(self, scale: Tensor, shift: Tensor, dims: int) -> None:  # noqa: ARG002
        return None

    def shifted(self, constant: Tensor) -> None:  # noqa: ARG002
        return None


def _after(bias: Tensor | None, scale: Tensor, shift: Tensor) -> Tensor:
    return shift if bias is None else bias * scale + shift


def _plus(bias: Tensor | None, constant: Tensor) -> Tensor:
    return constant if bias is None else bias + constant
