"""The part of stochastic gates that does not depend on the distribution of their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput

Reduction = Literal["none", "mean", "sum"]


class StochasticGatesBase(nn.Module, ABC):
    """A layer that multiplies its input by gates between 0 and 1 and prices the open ones.

    In training each example's gates are drawn anew; in eval mode each gate has its distribution's
    location, clamped. The price is the expected number of open gates, the L0 norm of section 2 of
    Louizos, Welling, Kingma (2018), https://arxiv.org/abs/1712.01312.

    Args:
        n_gates: The number of gates.
        mask: The gate of each element of an example, from 0 to n_gates - 1, of a shape that
            broadcasts to the input; None: each element has a gate of its own.
        reg_weight: The factor of the price.
        reg_reduction: The gates' probabilities of being open are summed, averaged, or returned as
            they are ("none").
    """

    mask: Tensor | None

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__()
        if mask is not None:
            _check_mask(mask, n_gates)
        if reg_reduction not in get_args(Reduction):
            allowed = f"one of {', '.join(get_args(Reduction))}"
            raise InvalidInput("reg_reduction", repr(reg_reduction), allowed)
        self.n_gates = n_gates
        self.reg_weight = reg_weight
        self.reg_reduction = reg_reduction
        self.register_buffer("mask", None if mask is None else mask.detach().clone().long())

    def forward(self, input_tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Gates an input.

        Args:
            input_tensor: Shape (examples, *features).

        Returns:
            The input times its gates, and the price to be added to the loss: a number, or, without
            a reduction, (n_gates,).
        """
        if self.mask is None:
            self._check_elements(input_tensor)
        examples = input_tensor.size()[0]
        gates = torch.clamp(self._sample_gate_values(examples), min=0, max=1)
        if self.mask is not None:
            # expand_as, since torch.fx does not trace other ways to broadcast.
            gate = self.mask.expand_as(input_tensor).reshape(examples, -1)
            gates = torch.gather(gates, 1, gate)
        return input_tensor * gates.reshape(input_tensor.size()), self._price()

    def get_gate_values(self, clamp: bool = True) -> Tensor:
        """Returns the location of each gate's distribution, (n_gates,).

        Args:
            clamp: Whether to clamp it to between 0 and 1, as in eval mode.
        """
        values = self._get_gate_values()
        return (values.clamp(0, 1) if clamp else values).detach()

    def get_gate_active_probs(self) -> Tensor:
        """Returns the probability that each gate is open (above 0), (n_gates,)."""
        return self._get_gate_active_probs().detach()

    @abstractmethod
    def _get_gate_values(self) -> Tensor:
        """Returns the gates' locations, not clamped, (n_gates,)."""

    @abstractmethod
    def _sample_gate_values(self, batch_size: int) -> Tensor:
        """Returns gates for some examples, not clamped, (batch_size, n_gates)."""

    @abstractmethod
    def _get_gate_active_probs(self) -> Tensor:
        """Returns the probability that each gate is above 0, (n_gates,)."""

    def _to_draw(self, examples: int, like: Tensor) -> Tensor:
        """Makes room for a number for each gate of each example, on the device of a tensor.

        In float32 whatever the parameters' dtype, so that a seed means the same gates.
        """
        return _empty(examples, self.n_gates, like.device)

    def _price(self) -> Tensor:
        probabilities = self._get_gate_active_probs()
        if self.reg_reduction == "sum":
            probabilities = probabilities.sum()
        elif self.reg_reduction == "mean":
            probabilities = probabilities.mean()
        return probabilities * self.reg_weight

    def _check_elements(self, input_tensor: Tensor) -> None:
        shape = tuple(input_tensor.shape)
        if len(shape) < 2:
            raise InvalidInput("input_tensor", f"of shape {shape}", "(examples, *features)")
        elements = input_tensor[0].numel()
        if elements != self.n_gates:
            allowed = f"of one for each of the {self.n_gates} gates, or give a mask"
            raise InvalidInput("input_tensor", f"of {elements} elements an example", allowed)


def _empty(rows: int, columns: int, device: torch.device) -> Tensor:
    return torch.empty(rows, columns, device=device)


# torch.fx records the call, since it cannot look into one whose size is the input's.
torch.fx.wrap("_empty")


def _check_mask(mask: Tensor, n_gates: int) -> None:
    if mask.is_floating_point() or mask.is_complex() or not mask.numel():
        found = f"{mask.numel()} numbers of dtype {mask.dtype}"
        raise InvalidInput("mask", found, "whole numbers, one for each element of an example")
    least, most = int(mask.min()), int(mask.max())
    if least < 0 or most != n_gates - 1:
        allowed = f"from 0 to the number of gates - 1, {n_gates - 1}"
        raise InvalidInput("mask", f"from {least} to {most}", allowed)
