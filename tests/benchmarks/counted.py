"""How many rows of each kind a method takes, counted while it runs."""

from __future__ import annotations

from collections import Counter

from torch import nn

from adcaptum.engine import INPUT, Evaluation, Explicand
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.vocabulary.method import Method
from tests.benchmarks.bare import Kind
from tests.benchmarks.subjects import View

_AT_ONCE = 64


def count_rows(view: View, method: Method, explicand: Explicand) -> Counter[Kind]:
    """Runs a method and counts its rows."""
    model: nn.Module = view.model
    counts: Counter[Kind] = Counter()
    execution = FlowRun(method.flow(explicand))
    pending = execution.start()
    while pending:
        for each in pending:
            counts[_kind(each.evaluation, view)] += each.rows
            for start in range(0, each.rows, _AT_ONCE):
                stop = min(start + _AT_ONCE, each.rows)
                (part,) = evaluate(model, [RowRange(each.evaluation, start, stop)])
                each.add(start, stop, part)
        pending = execution.advance()
    return counts


def _kind(evaluation: Evaluation, view: View) -> Kind:
    if evaluation.wrt is None:
        return "forward" if evaluation.outputs else "read"
    # Where the network begins at the site, its gradient is that of the whole network.
    whole = evaluation.wrt == INPUT or (not view.layered and evaluation.wrt == view.at)
    return "gradient" if whole else "layer"
