"""Texts with segments as features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.interpretable.interpretable_input import InterpretableInput

Segments = list[str] | dict[str, str]

_T = TypeVar("_T")


class TextTemplateInput(InterpretableInput):
    """A text made of segments, each of which can be replaced by a baseline.

    Example:
        >>> text = TextTemplateInput("{} feels {} now", ["He", "sad"], baselines=["It", "fine"])
        >>> text.to_model_input(torch.tensor([[0.0, 1.0]]))
        'It feels sad now'

    Attributes:
        values: The segments.
        dict_keys: The segments' names; None if they have none.
        baselines: The replacement of each absent segment, or a callable that draws them.
        n_features: The number of segments.
        n_itp_features: The number of features, by the mask.
        mask: For each segment the id of its feature; None where each is one.
        formatted_mask: For each segment the place of its feature, from 0; ids in ascending order.
        template: As given.
        format_fn: Formats the segments as a text.
    """

    def __init__(
        self,
        template: str | Callable[..., str],
        values: Segments,
        baselines: Segments | Callable[[], Segments] | None = None,
        mask: list[int] | dict[str, int] | None = None,
    ) -> None:
        """Checks and stores the segments.

        Args:
            template: A format string, or a function of the segments that makes the text; they
                are positional if `values` is a list, named if it is a dictionary.
            values: The segments.
            baselines: In the form of `values`, or a callable that draws them anew for each text,
                such as `ProductBaselines`; empty strings unless given.
            mask: In the form of `values`, the feature that each segment belongs to: those of equal
                number are there together or not at all. Each is a feature of its own unless given.

        Raises:
            AssertionError: If an argument has a wrong form.
        """
        if not isinstance(values, list | dict):
            raise InvalidInput(
                "values", f"a {type(values).__name__}", "a list or a dict of strings"
            )
        if not isinstance(template, str) and not callable(template):
            raise InvalidInput("template", f"a {type(template).__name__}", "a string or a callable")
        self.template = template
        self.format_fn = template.format if isinstance(template, str) else template
        self.dict_keys = list(values) if isinstance(values, dict) else None
        self.values = self._listed("values", values)
        self.n_features = len(self.values)
        self.baselines: list[str] | Callable[[], Segments] = [""] * self.n_features
        if baselines is not None:
            self.baselines = (
                baselines if callable(baselines) else self._listed("baselines", baselines)
            )
        self.mask = None if mask is None else self._listed("mask", mask)
        ids = list(range(self.n_features)) if self.mask is None else self.mask
        places = {id_: place for place, id_ in enumerate(sorted(set(ids)))}
        self.formatted_mask = [places[id_] for id_ in ids]
        self.n_itp_features = len(places)

    def to_tensor(self) -> Tensor:
        return torch.ones(1, self.n_itp_features)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> str:
        """Returns the text.

        Args:
            perturbed_tensor: (1, n_itp_features), zero where a feature is absent.

        Raises:
            AssertionError: If baselines that are drawn are not in the form of the values.
        """
        values = list(self.values)
        if perturbed_tensor is not None:
            baselines = self.baselines
            if callable(baselines):
                baselines = self._listed("what baselines drew", baselines())
            present = perturbed_tensor[0].tolist()
            for i, place in enumerate(self.formatted_mask):
                if not present[place]:
                    values[i] = baselines[i]
        if self.dict_keys is None:
            return self.format_fn(*values)
        return self.format_fn(**dict(zip(self.dict_keys, values, strict=True)))

    def format_attr(self, itp_attr: Tensor) -> Tensor:
        """Gives each segment its feature's attribution.

        Args:
            itp_attr: (*outputs, n_itp_features).

        Returns:
            A tensor (*outputs, n_features).
        """
        if self.mask is None:
            return itp_attr
        return itp_attr[..., torch.tensor(self.formatted_mask, device=itp_attr.device)]

    def _listed(self, what: str, given: list[_T] | dict[str, _T]) -> list[_T]:
        names = self.dict_keys
        if names is None and isinstance(given, list):
            return list(given)
        if names is not None and isinstance(given, dict):
            return [given[name] for name in names]
        form = "list" if names is None else "dict"
        raise InvalidInput(what, f"a {type(given).__name__}", f"a {form}, as the values are")
