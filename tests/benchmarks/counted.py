"""How many rows of each kind a method takes, counted while it runs."""

from __future__ import annotations

from collections import Counter

from torch import nn

from adcaptum.engine import Explicand
from adcaptum.engine.evaluator import evaluate
from adcaptum.engine.execution import Execution
from adcaptum.engine.method import Method
from adcaptum.engine.packing import Slice
from tests.benchmarks.bare import Kind

_AT_ONCE = 64


def count_rows(model: nn.Module, method: Method, explicand: Explicand) -> Counter[Kind]:
    """Runs a method and counts its rows."""
    counts: Counter[Kind] = Counter()
    execution = Execution(method.flow(explicand))
    pending = execution.start()
    while pending:
        for each in pending:
            kind: Kind = "forward" if each.evaluation.wrt is None else "gradient"
            counts[kind] += each.rows
            for start in range(0, each.rows, _AT_ONCE):
                stop = min(start + _AT_ONCE, each.rows)
                (part,) = evaluate(model, [Slice(each.evaluation, start, stop)])
                each.add(start, stop, part)
        pending = execution.advance()
    return counts
