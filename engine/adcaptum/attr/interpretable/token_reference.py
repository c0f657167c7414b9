"""Baselines of token sequences."""

from __future__ import annotations

import torch
from torch import Tensor


class TokenReferenceBase:
    """Baselines that repeat one token, such as the padding.

    Attributes:
        reference_token_idx: The token's index in the vocabulary.
    """

    def __init__(self, reference_token_idx: int = 0) -> None:
        self.reference_token_idx = reference_token_idx

    def generate_reference(self, sequence_length: int, device: torch.device) -> Tensor:
        """Returns the token repeated, int64 of shape (sequence_length,)."""
        return torch.full(
            (sequence_length,), self.reference_token_idx, dtype=torch.int64, device=device
        )
