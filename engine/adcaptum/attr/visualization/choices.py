"""What pictures of attributions there are, by name."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from adcaptum.attr.errors import InvalidInput

_E = TypeVar("_E", bound=Enum)


class ImageVisualizationMethod(Enum):
    """How an image's attributions are drawn."""

    heat_map = 1
    blended_heat_map = 2
    original_image = 3
    masked_image = 4
    alpha_scaling = 5


class TimeseriesVisualizationMethod(Enum):
    """How a time series' attributions are drawn."""

    overlay_individual = 1
    overlay_combined = 2
    colored_graph = 3


class VisualizeSign(Enum):
    """Which attributions are drawn."""

    positive = 1
    absolute_value = 2
    negative = 3
    all = 4


class UnknownChoice(InvalidInput, KeyError):
    """There is no choice of that name: Captum's AssertionError and its KeyError in one."""

    def __str__(self) -> str:
        return InvalidInput.__str__(self)


def chosen(choices: type[_E], name: str) -> _E:
    """The choice of that name.

    Raises:
        UnknownChoice: If there is none.
    """
    for choice in choices:
        if choice.name == name:
            return choice
    names = ", ".join(choice.name for choice in choices)
    raise UnknownChoice(choices.__name__, repr(name), f"one of {names}")
