"""Gates of the hard concrete distribution."""

from __future__ import annotations

from math import log
from typing import Any, Self

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput
from adcaptum.module.stochastic_gates_base import StochasticGatesBase


class BinaryConcreteStochasticGates(StochasticGatesBase):
    """Gates of stretched binary concrete variables, clamped: the hard concrete distribution.

    Louizos, Welling, Kingma (2018), https://arxiv.org/abs/1712.01312: drawn by equation 10, open
    with the probability of equation 12, in eval mode at equation 13.

    Args:
        n_gates: The number of gates.
        mask: The gate of each element of an example; None: one of its own.
        reg_weight: The factor of the price of open gates.
        temperature: The concrete distribution's, between 0 and 1; a low one is nearly binary.
        lower_bound: The lower end of the stretched variable, below 0.
        upper_bound: Its upper end, above 1.
        eps: The distance of the uniform draws from 0 and 1.
        reg_reduction: The reduction of the price: none, mean or sum.

    Attributes:
        log_alpha_param: The gates' location, (n_gates,).
    """

    def __init__(
        self,
        n_gates: int,
        mask: Tensor | None = None,
        reg_weight: float = 1.0,
        temperature: float = 2.0 / 3,
        lower_bound: float = -0.1,
        upper_bound: float = 1.1,
        eps: float = 1e-8,
        reg_reduction: str = "sum",
    ) -> None:
        super().__init__(n_gates, mask=mask, reg_weight=reg_weight, reg_reduction=reg_reduction)
        if not 0 < temperature < 1:
            raise InvalidInput("temperature", temperature, "between 0 and 1, both excluded")
        if lower_bound >= 0:
            raise InvalidInput("lower_bound", lower_bound, "below 0")
        if upper_bound <= 1:
            raise InvalidInput("upper_bound", upper_bound, "above 1")
        self.log_alpha_param = nn.Parameter(nn.init.normal_(torch.empty(n_gates), 0.0, 0.01))
        self.temperature = temperature
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.eps = eps

    def _get_gate_values(self) -> Tensor:
        return self._stretched(torch.sigmoid(self.log_alpha_param))

    def _sample_gate_values(self, batch_size: int) -> Tensor:
        if not self.training:
            return self._get_gate_values().expand(batch_size, self.n_gates)
        drawn = self._to_draw(batch_size, self.log_alpha_param)
        drawn = drawn.uniform_(self.eps, 1 - self.eps)
        logits = (torch.logit(drawn) + self.log_alpha_param) / self.temperature
        return self._stretched(torch.sigmoid(logits)).to(self.log_alpha_param.dtype)

    def _get_gate_active_probs(self) -> Tensor:
        shift = self.temperature * log(-self.lower_bound / self.upper_bound)
        return torch.sigmoid(self.log_alpha_param - shift)

    def _stretched(self, values: Tensor) -> Tensor:
        return values * (self.upper_bound - self.lower_bound) + self.lower_bound

    @classmethod
    def _from_pretrained(cls, log_alpha_param: Tensor, *args: Any, **kwargs: Any) -> Self:
        """Makes gates of known locations, (n_gates,); the arguments are the constructor's."""
        if log_alpha_param.dim() != 1:
            shape = tuple(log_alpha_param.shape)
            raise InvalidInput("log_alpha_param", f"of shape {shape}", "of one dimension")
        gates = cls(log_alpha_param.numel(), *args, **kwargs)
        gates.load_state_dict({"log_alpha_param": log_alpha_param}, strict=False)
        return gates
