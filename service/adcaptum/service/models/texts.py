"""The tokenisation of texts, with the place of each token in its text."""

from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from tokenizers import Tokenizer
from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import DeclarationError, InputDeclaration
from adcaptum.service.wire.tensors import Bytes, to_device

BUCKET: Final = 8
"""The number of tokens to a multiple of which texts are padded, so that texts of similar lengths
share device batches."""


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """A text as tokens.

    Attributes:
        tokens: The tokens as the tokenizer writes them, including those that it added.
        starts: The first character of each token; -1 for added tokens.
        ends: The character after each token; -1 for added tokens.
        cut: The character after which the text was cut, because it has more tokens than the model
            takes; None for a whole text.
    """

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class TokenisedTexts:
    """Texts of one request, as rows of equal length.

    Attributes:
        ids: `(rows, tokens)`.
        mask: `(rows, tokens)`, 1 for a token and 0 for padding.
        special: `(rows, tokens)`, whether a place is padding or a token that the tokenizer added.
        texts: The text of each row.
    """

    ids: Tensor
    mask: Tensor
    special: Tensor
    texts: tuple[TokenisedText, ...]

    def to(self, device: torch.device) -> Self:
        """Returns the texts on a device."""
        if device == self.ids.device:
            return self
        return replace(
            self,
            ids=to_device(self.ids, device),
            mask=to_device(self.mask, device),
            special=to_device(self.special, device),
        )

    def example(self, index: int) -> Self:
        """Returns one text alone, without the padding that longer texts caused."""
        length = min(self.ids.shape[1], -(-len(self.texts[index].tokens) // BUCKET) * BUCKET)
        rows = slice(index, index + 1)
        return replace(
            self,
            ids=self.ids[rows, :length],
            mask=self.mask[rows, :length],
            special=self.special[rows, :length],
            texts=(self.texts[index],),
        )


class TextReader:
    """Tokenises the texts of one input."""

    def __init__(self, declared: InputDeclaration) -> None:
        if declared.tokenizer is None:
            raise DeclarationError(f"input {declared.name!r} has no tokenizer")
        try:
            self._tokenizer = Tokenizer.from_file(str(declared.tokenizer))
        except Exception as error:  # tokenizers raises nothing more precise
            raise DeclarationError(f"{declared.tokenizer.name}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(declared.max_tokens)
        self._most = declared.max_tokens
        self._pad = self.token_id(declared.pad_token)

    def token_id(self, token: str) -> int:
        """Returns a token's number.

        Raises:
            DeclarationError: The tokenizer does not know it.
        """
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise DeclarationError(f"the tokenizer has no token {token!r}")
        return int(number)

    def read(self, texts: Bytes, field: str) -> TokenisedTexts:
        """Tokenises texts of shape `[batch]`.

        Raises:
            InvalidRequest: One is not UTF-8, or the shape is not `[batch]`.
        """
        if len(texts.shape) != 1:
            raise InvalidRequest(f"{field}.shape", f"{list(texts.shape)} is not [batch]")
        return self.tokenise([_text(item, i, field) for i, item in enumerate(texts.items)])

    def tokenise(self, texts: list[str]) -> TokenisedTexts:
        """Tokenises texts."""
        encodings = self._tokenizer.encode_batch(texts)
        longest = max(len(encoding.ids) for encoding in encodings)
        length = max(1, min(self._most, -(-longest // BUCKET) * BUCKET))
        ids = torch.full((len(texts), length), self._pad)
        mask = torch.zeros(len(texts), length, dtype=torch.int64)
        special = torch.ones(len(texts), length, dtype=torch.bool)
        read = []
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            ids[row, :count] = torch.tensor(encoding.ids)
            mask[row, :count] = 1
            added = encoding.special_tokens_mask
            special[row, :count] = torch.tensor(added, dtype=torch.bool)
            spans = [
                (-1, -1) if is_added else span
                for span, is_added in zip(encoding.offsets, added, strict=True)
            ]
            starts, ends = zip(*spans, strict=True) if spans else ((), ())
            cut = max(ends, default=0) if encoding.overflowing else None
            read.append(TokenisedText(tuple(encoding.tokens), tuple(starts), tuple(ends), cut))
        return TokenisedTexts(ids, mask, special, tuple(read))


def _text(item: bytes, index: int, field: str) -> str:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{field}.data[{index}]", f"not UTF-8: {error}") from error
