"""The engine's answers in Captum's form. Only this module and `perturbing` run flows.

Rules:
1. Results are detached, and in the model's dtype but at least float32: a bf16 or fp16 model gives
   float32, a float64 model float64.
2. Randomness begins at a seed drawn from torch's global generator: `torch.manual_seed` makes
   results repeatable, and two calls differ. Methods without randomness leave the generator alone.
3. Errors are raised as Captum's types.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Tensors
from adcaptum.engine.execution.driver import run
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Method

T = TypeVar("T")


def explain(
    call: CaptumCall,
    method: Method,
    *,
    batch_rows: int | None = None,
    progress: str | None = None,
) -> Attribution:
    """Explains a call with a method of the engine.

    Args:
        call: The call.
        method: The method.
        batch_rows: The most rows of a batch; None: the fastest number.
        progress: The name of a progress bar of the rows; None: no bar.
    """
    if method.traits.random:
        call = replace(call, explicand=replace(call.explicand, seed=drawn_seed()))
    explicand = call.explicand
    with translated():
        total = None if progress is None else method.rows(explicand)
        flow = method.flow(explicand)
        answer = run_flow(call, flow, batch_rows=batch_rows, progress=progress, total=total)
    if answer.uncovered_ops:
        warnings.warn(
            f"{method.traits.name} has no rule for {', '.join(answer.uncovered_ops)}: there the "
            "gradient is the plain one; strict=True refuses such models",
            stacklevel=3,
        )
    return answer


def run_flow(
    call: CaptumCall,
    flow: Flow[T],
    *,
    batch_rows: int | None = None,
    progress: str | None = None,
    total: int | None = None,
) -> T:
    """Runs a flow on the call's model; `total` is its number of rows, if that is known."""
    if batch_rows is not None and batch_rows < 1:
        raise InvalidInput("the rows of a batch", batch_rows, "at least 1")
    if progress is None:
        # Even a hidden bar costs time that small models notice.
        with translated():
            return run(call.model, flow, batch_rows=batch_rows)
    with translated(), tqdm(total=total, desc=progress, unit="row") as bar:
        result = run(call.model, flow, batch_rows=batch_rows, on_rows=bar.update)
        # At layers the number of rows is known only now.
        bar.total = bar.n
        return result


def drawn_seed() -> int:
    """Draws a seed from torch's global generator."""
    return int(torch.randint(1 << 62, ()))


def like_inputs(call: CaptumCall, values: tuple[Tensor, ...]) -> Tensors:
    """Returns values in the container of the inputs: a tuple if that was given."""
    return values if call.is_tuple else values[0]


def like_layer(values: tuple[Tensor, ...]) -> Tensors:
    """Returns values in the container of a layer: a tuple if it has several tensors."""
    return values if len(values) > 1 else values[0]


def convergence_delta(attribution: Attribution) -> Tensor:
    """Returns the sum of attributions less the output's difference to the baseline, (examples,)."""
    output, baseline_output = attribution.output, attribution.baseline_output
    assert output is not None, "it was asked for"
    assert baseline_output is not None, "it was asked for"
    return sum_of_rows(attribution.values) - (output - baseline_output)


def sum_of_rows(values: tuple[Tensor, ...]) -> Tensor:
    """Sums each example's values, (examples,)."""
    totals = [v.reshape(len(v), -1).sum(1) for v in values]
    return torch.stack(totals).sum(0)
