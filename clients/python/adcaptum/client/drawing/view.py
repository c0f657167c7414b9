"""Views of an explanation, independent of the medium: heat map, tokens, bars, matrix."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from adcaptum.client.drawing.raster import as_rgb, enlarge, is_image
from adcaptum.client.results.explanation import Attribution, Explanation, Interactions, Token

# In a map of many pixels, a few outliers would make all others white.
_MANY_PIXELS = 1000
_CLIPPED_PERCENTILE = 98.0


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Attributions of pixels.

    Attributes:
        name: The input or layer.
        values: Of shape (height, width), summed over channels.
        limit: The magnitude that gets the strongest colour; above 0.
        image: The image itself, of shape (height, width, 3); None if it is not known.
    """

    name: str
    values: npt.NDArray[np.float64]
    limit: float
    image: npt.NDArray[np.uint8] | None

    @property
    def scaled(self) -> npt.NDArray[np.float64]:
        """The values from -1 to 1."""
        return np.clip(self.values / self.limit, -1, 1)

    @property
    def lowest(self) -> float:
        """The lower end of the colour scale: 0 if no value is negative, else -limit."""
        return -self.limit if (self.values < 0).any() else 0.0

    @property
    def clipped(self) -> bool:
        """True if some values are beyond the limit."""
        return bool((np.abs(self.values) > self.limit).any())


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token and its attribution.

    Attributes:
        text: The text to show.
        value: The attribution.
        glued: It follows the previous token without a space.
        added: The tokeniser added it: it is not in the text.
    """

    text: str
    value: float
    glued: bool
    added: bool


@dataclass(frozen=True, slots=True)
class TokenStrip:
    """Attributions of tokens.

    Attributes:
        name: The input.
        tokens: In the order of the text.
        limit: The magnitude that gets the strongest colour; above 0.
    """

    name: str
    tokens: tuple[ScoredToken, ...]
    limit: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A feature and its attribution.

    Attributes:
        label: The feature's name, with its value and unit if they are known.
        value: The attribution.
        standard_error: The attribution's standard error; None if it is not known.
    """

    label: str
    value: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class BarChart:
    """Attributions of features.

    Attributes:
        name: The input or layer.
        bars: Largest magnitude first.
        hidden: Number of further features.
        hidden_sum: The sum of their attributions.
        limit: The magnitude of the longest bar; above 0.
    """

    name: str
    bars: tuple[Bar, ...]
    hidden: int
    hidden_sum: float
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Attributions of pairs of features.

    Attributes:
        name: The word for pairs of features.
        labels: The features', in their own order.
        values: Of shape (labels, labels).
        hidden: Number of further features of smaller weight.
        limit: The magnitude that gets the strongest colour; above 0.
    """

    name: str
    labels: tuple[str, ...]
    values: npt.NDArray[np.float64]
    hidden: int
    limit: float

    @property
    def scaled(self) -> npt.NDArray[np.float64]:
        """The values from -1 to 1."""
        return np.nan_to_num(self.values) / self.limit

    def heaviest(self, most: int) -> "Matrix":
        """Return the matrix of the features of the largest magnitudes, in their order."""
        weights = np.abs(np.nan_to_num(self.values)).sum(axis=1)
        kept = np.sort(np.argsort(-weights, kind="stable")[:most])
        return replace(
            self,
            labels=tuple(self.labels[place] for place in kept),
            values=self.values[np.ix_(kept, kept)],
            hidden=self.hidden + len(weights) - len(kept),
        )


View: TypeAlias = HeatMap | TokenStrip | BarChart | Matrix


def views_of(
    explanation: Explanation, *, image: npt.NDArray[Any] | None = None, max_bars: int = 15
) -> tuple[View, ...]:
    """Return the view of each attribution of an explanation, and of its interactions.

    Args:
        explanation: The explanation.
        image: The image to show heat maps on; by default the one in the explanation.
        max_bars: The largest number of features to show.

    Raises:
        ValueError: image does not have the shape of an image.
    """
    given = None if image is None else as_rgb(image)
    brought = _image_in(explanation.inputs)
    views: list[View] = []
    for name, attribution in explanation.attributions.items():
        example = explanation.inputs.get(name)
        # Two dimensions of a layer, such as tokens and components, are not places in an image.
        is_map = example is not None or attribution.values.ndim > 2
        below = given if given is not None else brought if is_map else None
        views.append(_view(name, attribution, example, below, max_bars))
    if explanation.interactions is not None:
        views.append(_matrix(explanation.interactions, max_bars))
    return tuple(views)


def _view(
    name: str,
    attribution: Attribution,
    example: npt.NDArray[Any] | None,
    image: npt.NDArray[np.uint8] | None,
    max_bars: int,
) -> View:
    if attribution.tokens and len(attribution.tokens) == attribution.values.size:
        return _token_strip(name, attribution)
    if attribution.values.ndim >= 2 and attribution.indices is None:
        return _heat_map(name, attribution.values, image)
    return _bar_chart(name, attribution, example, max_bars)


def _matrix(interactions: Interactions, most: int) -> Matrix:
    values = interactions.values.astype(np.float64)
    known = interactions.features
    labels = tuple(
        known[index] if index < len(known) else f"[{index}]" for index in range(len(values))
    )
    return Matrix("pairs", labels, values, 0, _limit(values)).heaviest(most)


def _heat_map(name: str, values: npt.NDArray[Any], image: npt.NDArray[np.uint8] | None) -> HeatMap:
    flat = values.astype(np.float64).sum(axis=tuple(range(values.ndim - 2)))
    if image is not None and flat.shape != image.shape[:2]:
        flat = enlarge(flat, *image.shape[:2])
    magnitudes = np.abs(np.nan_to_num(flat))
    limit = _limit(flat)
    if flat.size > _MANY_PIXELS:
        limit = float(np.percentile(magnitudes, _CLIPPED_PERCENTILE)) or limit
    return HeatMap(name, flat, limit, image)


def _token_strip(name: str, attribution: Attribution) -> TokenStrip:
    values = attribution.values.ravel().astype(np.float64)
    order = _order_of_text(attribution)
    tokens = [attribution.tokens[place] for place in order]
    before = [None, *tokens]
    return TokenStrip(
        name,
        tuple(
            ScoredToken(
                _readable(token), float(values[place]), _glued(previous, token), token.added
            )
            for place, token, previous in zip(order, tokens, before, strict=False)
        ),
        _limit(values),
    )


def _order_of_text(attribution: Attribution) -> list[int]:
    """Return the places in text order; kept features come in order of magnitude."""
    if attribution.indices is None:
        return list(range(len(attribution.tokens)))
    return np.argsort(attribution.indices.ravel(), kind="stable").tolist()


def _readable(token: Token) -> str:
    # Tokenisers' marks for "inside a word" and "after a space".
    return token.text.removeprefix("##").lstrip("\u2581\u0120") or token.text


def _glued(previous: Token | None, token: Token) -> bool:
    return (
        previous is not None
        and not previous.added
        and not token.added
        and previous.end == token.start
        and not token.text.startswith(("\u2581", "\u0120"))
    )


def _bar_chart(
    name: str, attribution: Attribution, example: npt.NDArray[Any] | None, max_bars: int
) -> BarChart:
    values = attribution.values.ravel().astype(np.float64)
    errors = attribution.standard_errors
    features = (
        np.arange(values.size) if attribution.indices is None else attribution.indices.ravel()
    )
    order = np.argsort(-np.abs(values), kind="stable")
    shown, hidden = order[:max_bars], order[max_bars:]
    return BarChart(
        name,
        tuple(
            Bar(
                _label(attribution, int(features[place]), example),
                float(values[place]),
                None if errors is None else float(errors.ravel()[place]),
            )
            for place in shown
        ),
        len(hidden),
        float(values[hidden].sum()),
        _limit(values),
    )


def _label(attribution: Attribution, index: int, example: npt.NDArray[Any] | None) -> str:
    names, units = attribution.features, attribution.units
    if index >= len(names):
        return f"[{index}]"
    if example is None or example.size != len(names):
        return names[index]
    unit = units[index] if index < len(units) else ""
    return f"{names[index]} = {example.ravel()[index]:.4g} {unit}".rstrip()


def _limit(values: npt.NDArray[Any]) -> float:
    return float(np.abs(np.nan_to_num(values)).max(initial=0)) or 1.0


def _image_in(inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8] | None:
    return next((as_rgb(array) for array in inputs.values() if is_image(array)), None)
