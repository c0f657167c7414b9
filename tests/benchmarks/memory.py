"""Peak memory: it does not grow with the number of steps or samples."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.tables import CONSOLE, ratio, table


@dataclass(frozen=True, slots=True)
class Peak:
    """What a process held, in MiB: before it explained, and at most."""

    before: float
    most: float

    @property
    def above(self) -> float:
        """What the explanation took."""
        return self.most - self.before


@dataclass(frozen=True, slots=True)
class Case:
    """What is explained with few and with many steps or samples.

    Attributes:
        batch_rows: Of every batch; 0: as many as the engine learns are best.
    """

    model: str
    inputs: int
    method: str
    parameter: str
    few: int
    many: int
    batch_rows: int

    def __str__(self) -> str:
        return f"{self.method}, {self.model}, {self.inputs} input{'s' if self.inputs > 1 else ''}"

    def peak(self, value: int) -> Peak:
        """Explains in a fresh process, with so many steps or samples."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.benchmarks.peak",
                *(self.model, str(self.inputs), self.method),
                *(self.parameter, str(value), str(self.batch_rows)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return Peak(**json.loads(done.stdout))


def _tenfold(method: str, parameter: str, few: int, *, model: str = "cnn", inputs: int = 4) -> Case:
    """Few, and ten times as many, in batches of 32 rows."""
    return Case(model, inputs, method, parameter, few, 10 * few, 32)


CASES: Final = (
    Case("digits", 16, "integrated_gradients", "n_steps", 50, 1000, 64),
    Case("digits", 16, "integrated_gradients", "n_steps", 50, 1000, 0),
    Case("cnn", 16, "integrated_gradients", "n_steps", 50, 1000, 64),
    Case("cnn", 16, "integrated_gradients", "n_steps", 50, 1000, 0),
    Case("photos", 1, "integrated_gradients", "n_steps", 50, 500, 0),
    _tenfold("blur_integrated_gradients", "n_steps", 25),
    _tenfold("conductance", "n_steps", 25),
    _tenfold("expected_gradients", "n_samples", 40),
    _tenfold("gradient_shap", "n_samples", 40),
    _tenfold("guided_integrated_gradients", "n_steps", 25),
    _tenfold("internal_influence", "n_steps", 25),
    _tenfold("kernel_shap", "n_samples", 300),
    _tenfold("layer_gradient_shap", "n_samples", 40),
    _tenfold("leverage_shap", "n_samples", 300),
    _tenfold("lime", "n_samples", 100),
    _tenfold("neuron_conductance", "n_steps", 25),
    _tenfold("owen_sampling", "n_samples", 4),
    _tenfold("partition_shap", "max_evals", 100),
    _tenfold("rise", "n_samples", 100),
    _tenfold("shapley_value_sampling", "n_samples", 4),
    _tenfold("smooth_grad", "n_samples", 40),
)
QUICK: Final = CASES[:1]


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
                "batch",
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
        for case in self._cases:
            small, large = case.peak(case.few), case.peak(case.many)
            made.add_row(
                str(case),
                str(case.batch_rows or "learnt"),
                str(case.few),
                f"{small.most:.0f}",
                f"{small.above:.0f}",
                str(case.many),
                f"{large.most:.0f}",
                f"{large.above:.0f}",
                ratio(large.most / small.most),
                ratio(large.above / small.above),
            )
        CONSOLE.print(made)
