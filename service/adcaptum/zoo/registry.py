"""The bundled models by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.zoo.recipes import cells, digits, photos, reviews
from adcaptum.zoo.training import Report

Recipe = Callable[[Report], ModelFolder]
"""A function that makes a model and reports its progress."""

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "photos": photos.make,
        "reviews": reviews.make,
        "cells": cells.make,
        "digits": digits.make,
    }
)
