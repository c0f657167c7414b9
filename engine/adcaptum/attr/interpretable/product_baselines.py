"""Baselines drawn feature by feature."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any


class ProductBaselines:
    """Draws each feature's baseline from its own list: a sample of the lists' product.

    Draws are from Python's global generator, `random`.

    Attributes:
        dict_keys: The features' names; empty where the lists have none.
        baseline_values: The list of each feature.
    """

    def __init__(
        self,
        baseline_values: Sequence[Sequence[Any]] | Mapping[str | tuple[str, ...], Sequence[Any]],
    ) -> None:
        """Takes the lists of baselines.

        Args:
            baseline_values: For each feature the baselines to draw from. As a dictionary, by the
                feature's name; a tuple of names is a group of features that are drawn together,
                and its list is one of tuples.
        """
        self._named = isinstance(baseline_values, Mapping)
        if isinstance(baseline_values, Mapping):
            self.dict_keys = list(baseline_values)
            self.baseline_values = list(baseline_values.values())
        else:
            self.dict_keys = []
            self.baseline_values = list(baseline_values)

    def sample(self) -> list[Any] | dict[str, Any]:
        """Draws one baseline per feature.

        Returns:
            A list in the order of the lists, or a dictionary by feature where they have names.

        Raises:
            ValueError: If a group's baseline has not one entry for each of its features.
        """
        drawn = [random.choice(values) for values in self.baseline_values]  # noqa: S311 - no secret
        if not self._named:
            return drawn
        named: dict[str, Any] = {}
        for key, value in zip(self.dict_keys, drawn, strict=True):
            if isinstance(key, tuple):
                named.update(zip(key, value, strict=True))
            else:
                named[key] = value
        return named

    def __call__(self) -> list[Any] | dict[str, Any]:
        """Does the same as `sample`, for arguments that take a callable as baselines."""
        return self.sample()
