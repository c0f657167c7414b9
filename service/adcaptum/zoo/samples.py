"""A real input for each bundled model, for demonstrations and tests."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from adcaptum.zoo.photographs import PHOTOGRAPHS
from adcaptum.zoo.recipes import cells, digits

REVIEW: Final = "The plot is thin, but the acting is superb and I loved every minute of it."


def photograph(name: str = "cat") -> NDArray[np.uint8]:
    """Returns a photograph `(height, width, 3)`, RGB, 0..255.

    Raises:
        KeyError: There is none of that name in `photographs.PHOTOGRAPHS`.
    """
    return {photograph.name: photograph for photograph in PHOTOGRAPHS}[name].pixels()


def review() -> str:
    """Returns a sentence about a film, ours."""
    return REVIEW


def measurements(row: int = 0) -> NDArray[np.float32]:
    """Returns a row of the breast cancer data that training did not see, `(30,)`."""
    return cells.load().test[row].numpy()


def digit(row: int = 0) -> NDArray[np.float32]:
    """Returns a handwritten digit that training did not see, `(1, 8, 8)`, 0..1."""
    return digits.load().test[row].numpy()
