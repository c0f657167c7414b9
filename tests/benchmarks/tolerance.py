"""Rows to a tolerance, and whether what is stated holds: against fixed settings and Captum.

Each line of the tables is printed when it is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log
from typing import Final

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from adcaptum.engine import Explicand, StopReason, explain
from adcaptum.engine.vocabulary.method import Method
from tests.benchmarks.tolerances.captums import captums
from tests.benchmarks.tolerances.cases import CASES, MODELS, Case
from tests.benchmarks.tolerances.data import Data
from tests.benchmarks.tolerances.truths import TRUTHS

TOLERANCES: Final = (0.05, 0.01)
_COLUMNS: Final = (
    "method", "explanations", "tolerance", "rows", "p90", "true error", "p99", "held", "met",
    "default rows", "its error", "its p99", "rows for this error", "rows for this promise",
    "Captum's rows", "its error",
)  # fmt: skip
_QUICK: Final = 50
_FIXED: Final = 100
_ROUNDING: Final = 1e-6
_ERRORS: Final = Console(stderr=True)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Rows and true errors of many explanations."""

    rows: Tensor
    errors: Tensor
    converged: Tensor


class Tolerances:
    """The section of the benchmarks."""

    def __init__(self, *, quick: bool) -> None:
        self._quick = quick
        # What is true of one method is true of others.
        self._truths: dict[tuple[object, ...], list[Tensor]] = {}

    def run(self, names: tuple[str, ...], methods: tuple[str, ...]) -> None:
        """Prints a table for each model, line by line."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Errors are to be those of the methods.
        torch.backends.cudnn.allow_tf32 = False
        for name in [name for name in MODELS if not names or name in names]:
            _print([f"**{name}: to a tolerance, and by fixed settings**\n"])
            _print(
                ["| " + " | ".join(_COLUMNS) + " |", "|---" + "|---:" * (len(_COLUMNS) - 1) + "|"]
            )
            data = Data(name, device)
            for case in CASES:
                if (not methods or case.method in methods) and case.counts[name]:
                    for line in self._lines(data, case):
                        _print(["| " + " | ".join(line) + " |"])
            self._truths.clear()

    def _lines(self, data: Data, case: Case) -> Iterator[list[str]]:
        count = min(case.counts[data.name], _QUICK if self._quick else 10_000)
        questions = [data.question(case, i) for i in range(count)]
        exact = self._exact(data, case, questions)
        few = slice(0, _FIXED)
        parts = _fixed(data, case, questions[few], exact[few])
        theirs = _captums(data, case, questions[few], exact[few])
        for tolerance in TOLERANCES:
            asked = [replace(q, tolerance=tolerance) for q in questions]
            found = _explain(
                data, data.method(case), asked, exact, f"{case.method} {tolerance:.0%}"
            )
            # What did not get there says so.
            held = ((found.errors <= tolerance) | ~found.converged).double().mean()
            middle, last = _middle(found.errors), _last(found.errors)
            yield [
                case.method, str(count), f"{tolerance:.0%}", f"{_middle(found.rows):.0f}",
                f"{float(found.rows.quantile(0.9)):.0f}", f"{middle:.2%}", f"{last:.2%}",
                f"{float(held):.1%}", f"{float(found.converged.double().mean()):.1%}",
                f"{_middle(parts[0].rows):.0f}",
                f"{_middle(parts[0].errors):.2%}", f"{_last(parts[0].errors):.2%}",
                _needed(parts, _middle(parts[0].errors), middle),
                _needed(parts, _last(parts[0].errors), tolerance),
                *theirs,
            ]  # fmt: skip

    def _exact(self, data: Data, case: Case, questions: list[Explicand]) -> list[Tensor]:
        own = case.method if case.truth not in ("coalitions", "rows") else ""
        known = self._truths.setdefault((case.truth, case.question, case.layered, own), [])
        for question in _shown(questions[len(known) :], f"{case.method}: the truth"):
            known.append(TRUTHS[case.truth](data, case, question))
        return known[: len(questions)]


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _shown(questions: list[Explicand], what: str) -> Iterator[Explicand]:
    yield from track(questions, what, console=_ERRORS, disable=not _ERRORS.is_terminal)


def _fixed(data: Data, case: Case, questions: list[Explicand], exact: list[Tensor]) -> list[Found]:
    """With the setting's default, and with four times that."""
    if case.setting is None:
        return [_explain(data, data.method(case), questions, exact, case.method)] * 2
    parameter, default = case.setting
    return [
        _explain(data, data.method(case, **{parameter: n}), questions, exact, f"{case.method} {n}")
        for n in (default, 4 * default)
    ]


def _explain(
    data: Data, method: Method, questions: list[Explicand], exact: list[Tensor], what: str
) -> Found:
    rows, errors, converged = [], [], []
    for question, truth in zip(_shown(questions, what), exact, strict=True):
        answer = explain(data.model, method, question)
        rows.append(float(answer.rows_used))
        errors.append(_wrong(answer.values[0].cpu().double(), truth))
        converged.append(answer.stop_reason is StopReason.CONVERGED)
    return Found(torch.tensor(rows), torch.tensor(errors), torch.tensor(converged))


def _captums(
    data: Data, case: Case, questions: list[Explicand], exact: list[Tensor]
) -> tuple[str, str]:
    """The median rows and error of Captum's answers."""
    rows, errors = [], []
    for question, truth in zip(_shown(questions, f"{case.method}: Captum"), exact, strict=True):
        found = captums(data, case, question)
        if found is None:
            return "-", "-"
        rows.append(float(found[0]))
        errors.append(_wrong(found[1], truth))
    return f"{_middle(torch.tensor(rows)):.0f}", f"{_middle(torch.tensor(errors)):.2%}"


def _wrong(values: Tensor, truth: Tensor) -> float:
    return float((values - truth).abs().sum() / truth.abs().sum())


def _middle(numbers: Tensor) -> float:
    return float(numbers.median())


def _last(numbers: Tensor) -> float:
    return float(numbers.quantile(0.99))


def _needed(fixed: list[Found], size: float, error: float) -> str:
    """How many rows the default's rule takes until an error of that size is as small as wanted.

    By the power law of the median errors of two settings.
    """
    (n, m), (a, b) = (
        [_middle(t) for t in of] for of in zip(*((f.rows, f.errors) for f in fixed), strict=True)
    )
    if n == m or not 0 < b < a or error < _ROUNDING:
        return "-"
    return f"{n * (size / error) ** (log(m / n) / log(a / b)):.0f}"
