"""Peak memory: it does not grow with the number of steps or samples."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.tables import CONSOLE, ratio, table

# Model, inputs, method, parameter, few, many.
CASES: Final = (
    ("digits", 16, "integrated_gradients", "n_steps", 50, 1000),
    ("cnn", 16, "integrated_gradients", "n_steps", 50, 1000),
    ("photos", 1, "integrated_gradients", "n_steps", 50, 1000),
    ("cnn", 16, "gradient_shap", "n_samples", 20, 400),
    ("cnn", 16, "smooth_grad", "n_samples", 20, 400),
)
QUICK: Final = CASES[:1]


@dataclass(frozen=True, slots=True)
class Peak:
    """What a process held, in MiB: before it explained, and at most."""

    before: float
    most: float


class Memory:
    """The section: each figure is a fresh process that explains once."""

    def __init__(self, *, quick: bool) -> None:
        self._cases = QUICK if quick else CASES

    def run(self) -> None:
        """Measures and prints."""
        made = table(
            "Peak memory (MiB resident; a fresh process each)",
            (
                "what",
                "few",
                "peak",
                "above idle",
                "many",
                "peak",
                "above idle",
                "peak x",
                "above x",
            ),
        )
        for model, count, method, parameter, few, many in self._cases:
            small, large = (
                _measure(model, count, method, parameter, value) for value in (few, many)
            )
            made.add_row(
                f"{method}, {model}, {count} input{'s' if count > 1 else ''}",
                str(few),
                f"{small.most:.0f}",
                f"{small.most - small.before:.0f}",
                str(many),
                f"{large.most:.0f}",
                f"{large.most - large.before:.0f}",
                ratio(large.most / small.most),
                ratio((large.most - large.before) / (small.most - small.before)),
            )
        CONSOLE.print(made)


def _measure(model: str, count: int, method: str, parameter: str, value: int) -> Peak:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.peak", model, str(count), method, parameter,
         str(value)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Peak(**json.loads(done.stdout))
