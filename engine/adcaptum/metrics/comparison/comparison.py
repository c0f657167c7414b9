"""Comparisons: the results of `compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from adcaptum.metrics.comparison.measures import Better


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Measures of several methods' attributions.

    Attributes:
        methods: The methods' names, in their order.
        measures: The measures' names, with what is better.
        scores: Each example's number by method and measure, (examples,).
        seconds: The time of each method's explanation of all examples.
    """

    methods: tuple[str, ...]
    measures: Mapping[str, Better | None]
    scores: Mapping[tuple[str, str], Tensor]
    seconds: Mapping[str, float]

    def mean(self, method: str, measure: str) -> float:
        """Returns the mean over the examples that have a number; NaN if none has."""
        return float(self._known(method, measure).mean())

    def standard_error(self, method: str, measure: str) -> float:
        """Returns the standard error of the mean over examples; infinite of fewer than two."""
        known = self._known(method, measure)
        return float(known.std() / len(known) ** 0.5) if len(known) > 1 else float("inf")

    def best(self, measure: str) -> str | None:
        """Returns the method with the best mean; None if no direction is better."""
        better = self.measures[measure]
        means = {method: self.mean(method, measure) for method in self.methods}
        known = {method: mean for method, mean in means.items() if mean == mean}  # noqa: PLR0124
        if better is None or not known:
            return None
        return (max if better == "higher" else min)(known, key=known.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values: means, errors, and each example's numbers."""
        return {
            "methods": {
                method: {
                    "seconds": self.seconds[method],
                    "measures": {
                        measure: {
                            "mean": _plain(self.mean(method, measure)),
                            "standard_error": _plain(self.standard_error(method, measure)),
                            "examples": [_plain(v) for v in self.scores[method, measure].tolist()],
                        }
                        for measure in self.measures
                    },
                }
                for method in self.methods
            },
            "better": dict(self.measures),
        }

    def to_json(self) -> str:
        """Returns `to_dict` as JSON; numbers that are none are null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def table(self) -> str:
        """Returns a table in Markdown, of means and their standard errors; the best are bold."""
        arrows = {"higher": " ↑", "lower": " ↓", None: ""}
        heads = [name + arrows[better] for name, better in self.measures.items()]
        best = {measure: self.best(measure) for measure in self.measures}
        lines = [["method", *heads, "seconds"]]
        for method in self.methods:
            cells = []
            for measure in self.measures:
                mean, error = self.mean(method, measure), self.standard_error(method, measure)
                cell = f"{mean:.3g} ± {error:.1g}"
                cells.append(f"**{cell}**" if best[measure] == method else cell)
            lines.append([method, *cells, f"{self.seconds[method]:.3g}"])
        rule = ["---"] * len(lines[0])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])

    def __str__(self) -> str:
        return self.table()

    def plot(self) -> Any:
        """Draws a bar chart for each measure; returns matplotlib's figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        try:
            pictures = import_module("matplotlib.figure")
        except ModuleNotFoundError as error:
            raise ImportError("plot needs matplotlib: pip install 'adcaptum[plot]'") from error
        count = len(self.measures)
        size = (3.2 * count, 0.4 * len(self.methods) + 1.2)
        figure = pictures.Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
        for axis, (measure, better) in zip(axes, self.measures.items(), strict=True):
            means = [self.mean(method, measure) for method in self.methods]
            errors = [self.standard_error(method, measure) for method in self.methods]
            finite = [e if e < float("inf") else 0.0 for e in errors]
            axis.barh(self.methods, means, xerr=finite)
            axis.set_title(measure if better is None else f"{measure} ({better} is better)")
        axes[0].invert_yaxis()
        return figure

    def _known(self, method: str, measure: str) -> Tensor:
        values = self.scores[method, measure].double()
        return values[values.isfinite()]


def _plain(number: float) -> float | None:
    return number if torch.isfinite(torch.tensor(number)) else None
