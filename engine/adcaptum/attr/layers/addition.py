"""Addition as a module."""

from __future__ import annotations

from torch import Tensor, nn


class Addition_Module(nn.Module):  # noqa: N801  # Captum's name
    """The sum of two inputs, for models whose sums are to be layers; rules cover `+` as well."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Adds."""
        return x1 + x2
