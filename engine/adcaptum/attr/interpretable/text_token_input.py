"""Texts with tokens as features."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from adcaptum.attr.interpretable.interpretable_input import InterpretableInput


class TokenizerLike(Protocol):
    """The needed part of a tokenizer, such as those of Hugging Face's transformers."""

    def encode(self, text: str, *, return_tensors: str) -> Any:
        """Returns the ids of a text's tokens, for "pt" an int64 tensor (1, tokens)."""
        ...

    def convert_ids_to_tokens(self, token_ids: list[int]) -> Any:
        """Returns the tokens with these ids, a list of strings."""
        ...

    def convert_tokens_to_ids(self, tokens: list[str]) -> Any:
        """Returns the ids of these tokens, a list of ints."""
        ...


class TextTokenInput(InterpretableInput):
    """A text whose tokens can each be replaced by a baseline token.

    Attributes:
        inp_tensor: The ids of the text's tokens, (1, tokens), the model's input.
        itp_tensor: Those that are features, (1, n_itp_features).
        itp_mask: True where a token is a feature, (1, tokens); None if all are.
        values: The tokens that are features.
        tokenizer: As given.
        skip_tokens: The ids that are not features; None where all are.
        baselines: The id of the token that replaces absent ones.
    """

    def __init__(
        self,
        text: str,
        tokenizer: TokenizerLike,
        baselines: int | str = 0,
        skip_tokens: list[int] | list[str] | None = None,
    ) -> None:
        """Splits the text into tokens.

        Args:
            text: The text.
            tokenizer: The tokenizer.
            baselines: The token, or its id, that replaces absent ones. 0 is the
                unknown token or the padding of many tokenizers.
            skip_tokens: Tokens, or their ids, that are never replaced and are no features.
        """
        self.tokenizer = tokenizer
        self.inp_tensor: Tensor = tokenizer.encode(text, return_tensors="pt")
        self.itp_tensor = self.inp_tensor
        self.itp_mask: Tensor | None = None
        self.skip_tokens: list[int] | None = None
        if skip_tokens:
            self.skip_tokens = [self._id(token) for token in skip_tokens]
            skipped = torch.tensor(self.skip_tokens, device=self.inp_tensor.device)
            self.itp_mask = ~torch.isin(self.inp_tensor, skipped)
            self.itp_tensor = self.inp_tensor[self.itp_mask].unsqueeze(0)
        self.values = list(tokenizer.convert_ids_to_tokens(self.itp_tensor[0].tolist()))
        self.n_itp_features = len(self.values)
        self.baselines = self._id(baselines)

    def to_tensor(self) -> Tensor:
        """Returns ones, in the dtype of the ids: every token is present."""
        return torch.ones_like(self.itp_tensor)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Tensor:
        """Returns the ids, with the baseline's in place of absent tokens.

        Args:
            perturbed_tensor: (rows, n_itp_features), 1 where a token is present.

        Returns:
            The ids, (rows, tokens), on the device of the perturbed tensor.
        """
        if perturbed_tensor is None:
            return self.inp_tensor
        device, rows = perturbed_tensor.device, len(perturbed_tensor)
        features = torch.where(perturbed_tensor == 1, self.itp_tensor.to(device), self.baselines)
        if self.itp_mask is None:
            return features
        ids = self.inp_tensor.to(device).repeat(rows, 1)
        ids[:, self.itp_mask[0].to(device)] = features
        return ids

    def _id(self, token: int | str) -> int:
        return self.tokenizer.convert_tokens_to_ids([token])[0] if isinstance(token, str) else token
