"""Conductance: how much of an integrated gradient flows through each of a layer's neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.attribution import Attribution, ErrorKind, completeness_error
from adcaptum.engine.explicand import Explicand
from adcaptum.engine.flow import Flow, ask
from adcaptum.engine.increments import Increments
from adcaptum.engine.method import LayerUse
from adcaptum.engine.parameters import parameter
from adcaptum.engine.quadrature import Rule, nodes_and_weights
from adcaptum.engine.rows import Path


@dataclass(frozen=True, slots=True)
class Conductance:
    """The target's gradient at a layer, times the layer's change, along the inputs' way.

    Dhamdhere, Sundararajan, Yan (2018), https://arxiv.org/abs/1805.12233, equation 4; summed as
    Shrikumar, Su, Kundaje (2018), https://arxiv.org/abs/1807.09946, section 2: n_steps differences
    between neighbours among n_steps + 1 points. A layer's conductances sum to the output less the
    output at the baseline, up to the error of the sum.
    """

    name: ClassVar[str] = "conductance"
    paper: ClassVar[str] = "https://arxiv.org/abs/1805.12233"
    gradient: ClassVar[bool] = True
    baseline: ClassVar[bool] = True
    random: ClassVar[bool] = False
    feature_masks: ClassVar[bool] = False
    layer: ClassVar[LayerUse] = "required"
    background: ClassVar[bool] = False
    tolerance: ClassVar[bool] = True

    n_steps: int = parameter(50, "Steps on the way.", minimum=1, maximum=10_000)
    method: Rule = parameter("gausslegendre", "The rule whose points are taken.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains.

        Raises:
            InvalidArgument: If no layer is named, or the inputs are not floating-point.
        """
        alphas = _points(self.method, self.n_steps + 1, explicand.with_error)
        ends = int(explicand.with_error)
        path = Path(explicand.inputs, explicand.paired_baselines(), alphas)
        fold = Increments(ends, len(alphas) - ends)
        reading = yield from ask(explicand.from_inputs(path, read=True, reduce=fold))
        values = reading.gradients
        if not explicand.with_error:
            return Attribution(values)
        outputs = reading.values.view(explicand.count, -1)
        output, baseline_output = outputs[:, -1], outputs[:, 0]
        error = completeness_error(values, output, baseline_output)
        return Attribution(values, error, ErrorKind.COMPLETENESS, output, baseline_output)

    def rows(self, explicand: Explicand) -> int:
        """The points of each example, and its ends for the error."""
        return explicand.count * (self.n_steps + 1 + 2 * explicand.with_error)


@lru_cache(maxsize=256)
def _points(rule: Rule, n: int, with_ends: bool) -> Tensor:
    """The points of the path; the ends, which tell the error, come before and after."""
    alphas, _ = nodes_and_weights(rule, n)
    if not with_ends:
        return alphas
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return torch.cat([zero, alphas, one])
