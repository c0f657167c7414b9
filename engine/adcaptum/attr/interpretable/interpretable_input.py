"""What a model takes, as switches of the features that people understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class InterpretableInput(ABC):
    """An input with a simplified form x' that perturbation methods work on, and the way back.

    The mapping x = h(x') of Ribeiro, Singh, Guestrin (2016), https://arxiv.org/abs/1602.04938,
    section 3.1, and Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, section 2. Usually x'
    is binary: a feature is there or it is not. The model's input x can be anything.

    Attributes:
        n_itp_features: How many features there are.
        values: What each feature is, to be shown beside its attribution.
    """

    n_itp_features: int
    values: list[str]

    @abstractmethod
    def to_tensor(self) -> Tensor:
        """The simplified form of the input as it is, (1, n_itp_features)."""

    @abstractmethod
    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """What the model takes, for a perturbed simplified form or, without, for the input."""

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Attributions as they are to be shown; unless overridden, those of the features."""
        return itp_attr
