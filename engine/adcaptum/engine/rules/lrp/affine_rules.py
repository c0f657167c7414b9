"""Rules of layer-wise relevance propagation for affine maps.

A rule turns relevance R of the outputs y = W x + b into relevance of the inputs. In all rules z is
the divisor of relevance, stabilised (see `divided`); x+ and x- are the positive and the negative
part. The rules are those of Bach et al. (2015, https://doi.org/10.1371/journal.pone.0130140),
Montavon et al. (2017, https://arxiv.org/abs/1512.02479; 2019, "Layer-wise relevance propagation:
an overview") and, for inputs of either sign, Andeol et al. (2021).

In the papers a bias is a neuron that is always on: its share of the relevance is b_j / z_j R_j. The
rules' parameter `bias` decides about that share: "keep", the bias keeps it, as in the papers;
"spread", it goes in equal parts to all inputs of the neuron (Arras et al. 2019, "Explaining and
interpreting LSTMs"), which conserves relevance; or "ignore", the bias takes no part in z. Epsilon
relies on R being small where z is small. With "spread" and "ignore" it is not, and in deep networks
the relevance of single elements may be of any size, though their sum is right. WSquare, Flat and
ZBox have no share for the bias, as in their paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument, ModelError
from adcaptum.engine.rules.lrp.affine_maps import AffineMap

Bias = Literal["keep", "spread", "ignore"]


class LayerRule(Protocol):
    """The rule by which an affine map hands relevance to its inputs: a frozen dataclass."""

    @property
    def keeps_output(self) -> bool:
        """True if the rule needs y, which is then kept from the forward pass."""
        ...

    def __hash__(self) -> int: ...

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:
        """Returns the relevance of the inputs.

        Args:
            layer: The map.
            x: Its input, (rows, *features).
            y: Its output if `keeps_output`.
            R: The relevance of the output, of y's shape.

        Returns:
            The relevance, of x's shape.
        """
        ...


@dataclass(frozen=True, slots=True)
class Epsilon:
    """The epsilon rule, R_i = x_i sum_j w_ij R_j / z_j with z = y: Bach et al. (2015), equation 58.

    Attributes:
        epsilon: The number added to z, away from 0; None: the machine epsilon of its type.
        bias: The fate of the bias's share: keep, spread or ignore.
    """

    epsilon: float | None = None
    bias: Bias = "keep"

    @property
    def keeps_output(self) -> bool:
        return True

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:
        assert y is not None, "the rule keeps the output"
        z = y
        if self.bias == "ignore" and layer.bias is not None:
            z = y - layer.shift(layer.bias)
        s = divided(R, z, self.epsilon)
        result = layer.transposed(s, layer.weight, x).mul_(x)
        if self.bias == "spread" and layer.bias is not None:
            result += _spread(layer, s * layer.shift(layer.bias), x)
        return result


@dataclass(frozen=True, slots=True)
class Norm:
    """Relevance in proportion to contributions: `Epsilon` with the machine epsilon.

    Attributes:
        bias: The fate of the bias's share: keep, spread or ignore.
    """

    bias: Bias = "keep"

    @property
    def keeps_output(self) -> bool:
        return True

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:
        return Epsilon(None, self.bias).relevance(layer, x, y, R)


@dataclass(frozen=True, slots=True)
class AlphaBeta:
    """The alpha-beta rule: alpha R to positive contributions, -beta R to negative ones.

    Bach et al. (2015), equation 60; alpha - beta = 1. A contribution x_i w_ij is positive
    where both have one sign, so that inputs may be negative. The bias counts with the contributions
    of its sign.

    Attributes:
        alpha: The factor of the positive contributions.
        beta: The factor of the negative ones.
        epsilon: The number added to each z; None: the machine epsilon of its type.
        bias: The fate of the bias's share: keep, spread or ignore.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float | None = None
    bias: Bias = "keep"

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise InvalidArgument(
                "alpha, beta",
                (self.alpha, self.beta),
                "neither is negative, and alpha - beta is 1: else relevance is made or lost",
            )

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:  # noqa: ARG002
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        b = layer.bias
        sharing = _Sharing(layer, x, R, self.epsilon, self.bias)
        result = x.new_zeros(())
        if self.alpha:
            positive = None if b is None else b.clamp(min=0)
            result = self.alpha * sharing.by(up, down, positive)
        if self.beta:
            negative = None if b is None else b.clamp(max=0)
            result = result - self.beta * sharing.by(down, up, negative)
        return result


@dataclass(frozen=True, slots=True)
class ZPlus:
    """The z+ rule, relevance to positive contributions only: `AlphaBeta` with alpha 1, beta 0.

    Montavon et al. (2017), section 4.1 ("z+-rule"), for inputs of either sign.

    Attributes:
        epsilon: The number added to z; None: the machine epsilon of its type.
        bias: The fate of the bias's share: keep, spread or ignore.
    """

    epsilon: float | None = None
    bias: Bias = "keep"

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:
        return AlphaBeta(1.0, 0.0, self.epsilon, self.bias).relevance(layer, x, y, R)


@dataclass(frozen=True, slots=True)
class Gamma:
    """The gamma rule: contributions of the output's sign count 1 + gamma times.

    Montavon et al. (2019), equation 10.11, for positive inputs; Andeol et al. (2021) for inputs
    of either sign. The bias counts like the contributions: 1 + gamma times where it has the
    output's sign.

    Attributes:
        gamma: The extra weight of these contributions; 0: `Epsilon`.
        epsilon: The number added to z; None: the machine epsilon of its type.
        bias: The fate of the bias's share: keep, spread or ignore.
    """

    gamma: float = 0.25
    epsilon: float | None = None
    bias: Bias = "keep"

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise InvalidArgument("gamma", self.gamma, "at least 0")

    @property
    def keeps_output(self) -> bool:
        return True

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:
        assert y is not None, "the rule keeps the output"
        w, b = layer.weight, layer.bias
        up = w + self.gamma * w.clamp(min=0)
        down = w + self.gamma * w.clamp(max=0)
        positive = None if b is None else b + self.gamma * b.clamp(min=0)
        negative = None if b is None else b + self.gamma * b.clamp(max=0)
        of_positive = _Sharing(layer, x, R * (y > 0), self.epsilon, self.bias)
        of_negative = _Sharing(layer, x, R * (y < 0), self.epsilon, self.bias)
        return of_positive.by(up, down, positive) + of_negative.by(down, up, negative)


@dataclass(frozen=True, slots=True)
class ZBox:
    """The z^B rule for bounded inputs, such as pixels: Montavon et al. (2017), equation 9.

    z_j = sum_i (x_i w_ij - low w+_ij - high w-_ij), and R_i likewise.

    Attributes:
        low: The lowest value that an input may have; None: the lowest of the row's inputs.
        high: The highest one; None: the highest of the row's inputs.
        epsilon: The number added to z; None: the machine epsilon of its type.
    """

    low: float | None = None
    high: float | None = None
    epsilon: float | None = None

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:  # noqa: ARG002
        w = layer.weight
        within = tuple(range(1, x.dim()))
        low = x.amin(within, keepdim=True) if self.low is None else x.new_tensor(self.low)
        high = x.amax(within, keepdim=True) if self.high is None else x.new_tensor(self.high)
        # The bounds as inputs: they are padded as the input is.
        points = ((x, w), (low.expand_as(x), w.clamp(min=0)), (high.expand_as(x), w.clamp(max=0)))
        z, *bounds = (layer.apply(point, weight) for point, weight in points)
        s = divided(R, z - bounds[0] - bounds[1], self.epsilon)
        own, *others = (layer.transposed(s, weight, x) * point for point, weight in points)
        return own - others[0] - others[1]


@dataclass(frozen=True, slots=True)
class WSquare:
    """The w^2 rule, R_i = sum_j w_ij^2 R_j / sum_k w_kj^2: Montavon et al. (2017), equation 8.

    Attributes:
        epsilon: The number added to the sum; None: the machine epsilon of its type.
    """

    epsilon: float | None = None

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:  # noqa: ARG002
        w = layer.weight.square()
        return layer.transposed(divided(R, layer.of_ones(w, x), self.epsilon), w, x)


@dataclass(frozen=True, slots=True)
class Flat:
    """The flat rule: equal relevance to all inputs of a neuron. Lapuschkin et al. (2019).

    Attributes:
        epsilon: The number added to the number of inputs; None: the machine epsilon of its type.
    """

    epsilon: float | None = None

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:  # noqa: ARG002
        w = torch.ones_like(layer.weight)
        return layer.transposed(divided(R, layer.of_ones(w, x), self.epsilon), w, x)


@dataclass(frozen=True, slots=True)
class Pass:
    """The relevance of each output to the input at its place; input and output have one shape."""

    @property
    def keeps_output(self) -> bool:
        return False

    def relevance(self, layer: AffineMap, x: Tensor, y: Tensor | None, R: Tensor) -> Tensor:  # noqa: ARG002
        if R.shape != x.shape:
            raise ModelError(
                f"rule Pass hands on relevance of shape {tuple(R.shape)}, and the layer's input "
                f"has shape {tuple(x.shape)}: give that layer another rule"
            )
        return R


def divided(R: Tensor, z: Tensor, epsilon: float | None) -> Tensor:
    """Returns R / z, where z is moved away from 0 by epsilon.

    In half precision the result is computed in float32 and kept finite; in float16, whose largest
    number is 65504, epsilon is at least the type's machine epsilon.

    Args:
        R: The relevance.
        z: The divisor; it broadcasts to R.
        epsilon: The number added to |z|; None: the machine epsilon of z's type.
    """
    limits = torch.finfo(z.dtype)
    step = limits.eps if epsilon is None else max(epsilon, _least(z.dtype))
    if z.dtype in _HALVES:
        z = z.float()
        quotient = R.float() / torch.copysign(_number(step, z.dtype, z.device), z).add_(z)
        return quotient.clamp(-limits.max, limits.max).to(R.dtype)
    divisor = torch.copysign(_number(step, z.dtype, z.device), z).add_(z)
    # Reuses the memory of the divisor where it has the shape of R.
    return torch.div(R, divisor, out=divisor) if divisor.shape == R.shape else R / divisor


@lru_cache(maxsize=64)
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=dtype, device=device)


_HALVES = (torch.float16, torch.bfloat16)


def _least(dtype: torch.dtype) -> float:
    """Returns the least divisor of relevance that causes no overflow."""
    limits = torch.finfo(dtype)
    return float(min(limits.eps, limits.tiny**0.5))


class _Sharing:
    """The division of a map's relevance in proportion to contributions."""

    def __init__(
        self, layer: AffineMap, x: Tensor, R: Tensor, epsilon: float | None, bias: Bias
    ) -> None:
        self._layer = layer
        self._R = R
        self._epsilon = epsilon
        self._bias = bias
        # Behind a ReLU no input is negative, which saves half the work.
        self._one_sign = not x.numel() or bool(x.amin() >= 0)
        self._plus = x if self._one_sign else x.clamp(min=0)
        self._minus = x if self._one_sign else x.clamp(max=0)

    def by(self, of_plus: Tensor, of_minus: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the inputs' relevance, with other weights for positive inputs than for others."""
        layer = self._layer
        shift = None if bias is None or self._bias == "ignore" else layer.shift(bias)
        z = layer.apply(self._plus, of_plus)
        if not self._one_sign:
            z += layer.apply(self._minus, of_minus)
        if shift is not None:
            z += shift
        s = divided(self._R, z, self._epsilon)
        result = layer.transposed(s, of_plus, self._plus).mul_(self._plus)
        if not self._one_sign:
            result.addcmul_(layer.transposed(s, of_minus, self._minus), self._minus)
        if shift is not None and self._bias == "spread":
            result += _spread(layer, s * shift, self._plus)
        return result


def _spread(layer: AffineMap, R: Tensor, x: Tensor) -> Tensor:
    """Spreads each neuron's relevance in equal parts over its inputs, of the shape of x."""
    ones = torch.ones_like(layer.weight)
    return layer.transposed(R / layer.of_ones(ones, x).clamp(min=1), ones, x)
