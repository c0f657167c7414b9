"""Gates of clamped Gaussian variables."""

from __future__ import annotations

from math import sqrt
from typing import Any, Self

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput
from adcaptum.module.stochastic_gates_base import StochasticGatesBase


class GaussianStochasticGates(StochasticGatesBase):
    """Gates of Gaussian variables, clamped to between 0 and 1.

    Yamada, Lindenbaum, Negahban, Kluger (2020), https://arxiv.org/abs/1810.04247: z = mu + noise,
    open with probability Phi(mu / std).

    Args:
        n_gates: The number of gates.
        mask: The gate of each element of an example; None: one of its own.
        reg_weight: The factor of the price of open gates.
        std: The standard deviation of the variables, above 0.
        reg_reduction: The reduction of the price: none, mean or sum.

    Attributes:
        mu: The gates' means, (n_gates,).
    """

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        std: float = 0.5,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__(n_gates, mask=mask, reg_weight=reg_weight, reg_reduction=reg_reduction)
        if std <= 0:
            raise InvalidInput("std", std, "above 0")
        self.mu = nn.Parameter(nn.init.normal_(torch.empty(n_gates), 0.5, 0.01))
        self.std = std

    def _get_gate_values(self) -> Tensor:
        return self.mu

    def _sample_gate_values(self, batch_size: int) -> Tensor:
        if not self.training:
            return self.mu.expand(batch_size, self.n_gates)
        noise = self._to_draw(batch_size, self.mu).normal_(0, self.std)
        return (self.mu + noise).to(self.mu.dtype)

    def _get_gate_active_probs(self) -> Tensor:
        return 0.5 * (1 + torch.erf(self.mu / (self.std * sqrt(2))))

    @classmethod
    def _from_pretrained(cls, mu: Tensor, *args: Any, **kwargs: Any) -> Self:
        """Makes gates of known means, (n_gates,); the arguments are the constructor's."""
        if mu.dim() != 1:
            raise InvalidInput("mu", f"of shape {tuple(mu.shape)}", "of one dimension")
        gates = cls(mu.numel(), *args, **kwargs)
        gates.load_state_dict({"mu": mu}, strict=False)
        return gates
