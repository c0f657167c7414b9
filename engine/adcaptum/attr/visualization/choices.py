"""Kinds of pictures of attributions, by name."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from adcaptum.attr.errors import InvalidInput

_E = TypeVar("_E", bound=Enum)


class ImageVisualizationMethod(Enum):
    """Ways to draw an image's attributions."""

    heat_map = 1
    blended_heat_map = 2
    original_image = 3
    masked_image = 4
    alpha_scaling = 5


class TimeseriesVisualizationMethod(Enum):
    """Ways to draw a time series' attributions."""

    overlay_individual = 1
    overlay_combined = 2
    colored_graph = 3


class VisualizeSign(Enum):
    """Signs of the drawn attributions."""

    positive = 1
    absolute_value = 2
    negative = 3
    all = 4


class UnknownChoice(InvalidInput, KeyError):
    """An unknown name: both Captum's AssertionError and its KeyError."""

    def __str__(self) -> str:
        return InvalidInput.__str__(self)


def chosen(choices: type[_E], name: str) -> _E:
    """Returns the choice of that name.

    Raises:
        UnknownChoice: If there is none.
    """
    for choice in choices:
        if choice.name == name:
            return choice
    names = ", ".join(choice.name for choice in choices)
    raise UnknownChoice(choices.__name__, repr(name), f"one of {names}")
