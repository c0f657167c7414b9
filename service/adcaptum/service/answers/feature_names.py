"""Names of features, for answers about features instead of elements."""

from collections.abc import Iterable, Iterator
from math import prod

import torch

from adcaptum.service.models.texts import TokenisedTexts
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece


def feature_names(parsed: ParsedRequest, piece: Piece, count: int) -> list[str]:
    """Names the features of a piece, in the order of their numbers.

    Args:
        parsed: The request.
        piece: The piece whose features are named.
        count: The number of features.
    """
    texts, masks = piece.part.inputs.texts, piece.explicand.feature_mask
    if texts is not None and parsed.layer is None:
        return _with_tokens(parsed, piece, _tokens(texts))
    if masks is not None:
        names = parsed.masks.names if parsed.masks is not None else {}
        numbers = torch.cat([mask.flatten() for mask in masks]).unique().tolist()
        return [names.get(number, str(number)) for number in numbers]
    if parsed.layer is not None:
        return [str(index) for index in range(count)]
    return list(_elements(parsed, piece, range(len(piece.part.inputs.tensors))))


def _with_tokens(parsed: ParsedRequest, piece: Piece, tokens: list[str]) -> list[str]:
    """Returns the names of the other inputs' features, which have lower numbers, and tokens."""
    inputs, masks = piece.part.inputs, piece.explicand.feature_mask
    others = [place for place in range(len(inputs.tensors)) if place != inputs.text_place]
    if not others or masks is None:
        return tokens
    if parsed.masks is None:
        return [*_elements(parsed, piece, others), *tokens]
    numbers = torch.cat([masks[place].flatten() for place in others]).unique().tolist()
    return [*(parsed.masks.names.get(number, str(number)) for number in numbers), *tokens]


def _tokens(texts: TokenisedTexts) -> list[str]:
    """Returns the tokens of the text, then one name for those that the tokenizer added."""
    (text,) = texts.texts
    special = texts.special[0].tolist()
    own = [token for token, added in zip(text.tokens, special, strict=False) if not added]
    added = [token for token, added in zip(text.tokens, special, strict=False) if added]
    # Padding belongs to the same feature.
    return [*own, " ".join(added) or "added"] if any(special) else own


def _elements(parsed: ParsedRequest, piece: Piece, places: Iterable[int]) -> Iterator[str]:
    declared = parsed.model.loaded.declaration.inputs
    for place in places:
        each, values = declared[place], piece.part.inputs.tensors[place]
        elements = prod(values.shape[1:])
        if len(each.features) == elements:
            yield from each.features
            continue
        inside = f"{each.name}." if len(declared) > 1 else ""
        yield from (f"{inside}{index}" for index in range(elements))
