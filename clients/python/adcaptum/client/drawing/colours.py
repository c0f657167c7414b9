"""Colours of attributions: red for positive, blue for negative, white for zero."""

from typing import Any

import numpy as np
import numpy.typing as npt

RGB = tuple[int, int, int]

# ColorBrewer's RdBu, reversed: readable for colour-blind people and in grey print.
_ANCHORS: npt.NDArray[np.float64] = np.array(
    [
        (33, 102, 172),
        (67, 147, 195),
        (146, 197, 222),
        (209, 229, 240),
        (255, 255, 255),
        (253, 219, 199),
        (244, 165, 130),
        (214, 96, 77),
        (178, 24, 43),
    ],
    dtype=np.float64,
)
NEGATIVE: RGB = (33, 102, 172)
POSITIVE: RGB = (178, 24, 43)


def diverging(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Colour numbers from -1 (blue) over 0 (white) to 1 (red); those outside are clipped.

    Args:
        values: Of any shape; NaN is white.

    Returns:
        Of shape (*values.shape, 3).
    """
    places = np.linspace(-1, 1, len(_ANCHORS))
    finite = np.clip(np.nan_to_num(values), -1, 1)
    channels = [np.interp(finite, places, anchor) for anchor in _ANCHORS.T]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def colour_of(value: float) -> RGB:
    """Colour one number from -1 to 1."""
    red, green, blue = diverging(np.array(value)).tolist()
    return red, green, blue


def text_colour_on(background: RGB) -> RGB:
    """Return black or white, whichever is readable on the background."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def overlay(values: npt.NDArray[Any], image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay numbers from -1 to 1 over an image, more opaque where they are larger.

    Args:
        values: Of shape (height, width).
        image: Of shape (height, width, 3).

    Returns:
        Of the image's shape.
    """
    finite = np.clip(np.nan_to_num(values), -1, 1)[..., np.newaxis]
    # Pale grey, so that every colour of the result is an attribution.
    grey = 255 - 0.6 * (255 - image.mean(axis=-1, keepdims=True))
    ink = np.where(finite > 0, np.array(POSITIVE), np.array(NEGATIVE))
    opacity = 0.9 * np.abs(finite) ** 0.7
    return np.rint(grey * (1 - opacity) + ink * opacity).astype(np.uint8)
