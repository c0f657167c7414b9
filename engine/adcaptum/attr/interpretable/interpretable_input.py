"""Model inputs as presence or absence of interpretable features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class InterpretableInput(ABC):
    """An input with a simplified form x' for perturbation methods, and its inverse mapping.

    The mapping x = h(x') of Ribeiro, Singh, Guestrin (2016), https://arxiv.org/abs/1602.04938,
    section 3.1, and Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, section 2. Usually x'
    is binary: a feature is present or absent. The model's input x can be anything.

    Attributes:
        n_itp_features: The number of features.
        values: The description of each feature, shown beside its attribution.
    """

    n_itp_features: int
    values: list[str]

    @abstractmethod
    def to_tensor(self) -> Tensor:
        """Returns the simplified form of the unperturbed input, (1, n_itp_features)."""

    @abstractmethod
    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """Returns the model's input for a perturbed simplified form; None: for the original."""

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Returns attributions in the form for display; by default those of the features."""
        return itp_attr
