"""Relevance propagation as a flow: one gradient row an example, under the rule `Relevance`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch

from adcaptum.engine.errors import UncoveredOperations
from adcaptum.engine.rows.reduce import accumulator_dtype, widened
from adcaptum.engine.rules.lrp.composites import Composite
from adcaptum.engine.rules.lrp.rule import Relevance
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits

Start = Literal["output", "one"]


@dataclass(frozen=True, slots=True)
class CompositeLRP:
    """Layer-wise relevance propagation by any composite: rules by type, name, position, module.

    In the registry it is `lrp`, with composites by name.

    Attributes:
        composite: The choice of a rule for each operation.
        start: The relevance of the target: its value, or 1. Relevance is proportional to it, so
            that for any other start one multiplies what 1 gives.
        strict: Whether to refuse operations for which there is no rule.
    """

    traits: ClassVar[Traits] = Traits(
        name="lrp", paper="https://doi.org/10.1371/journal.pone.0130140", gradient=True
    )

    composite: Composite = field(default_factory=Composite)
    start: Start = "output"
    strict: bool = False

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            UncoveredOperations: If strict, and there are operations without a rule.
        """
        evaluation = replace(
            explicand.at_inputs(gradient=True), rule=Relevance(composite=self.composite)
        )
        reading = yield from ask(evaluation)
        if self.strict and reading.uncovered_ops:
            raise UncoveredOperations(reading.uncovered_ops)
        output = reading.values
        started = output.to(accumulator_dtype(output.dtype))
        if self.start == "one":
            started = torch.ones_like(started)
        values = tuple(
            r * started.view(-1, *(1,) * (r.dim() - 1)) for r in widened(reading.gradients)
        )
        return Attribution(
            values,
            output=output,
            completeness_error=completeness_error(values, started, torch.zeros_like(started)),
            uncovered_ops=reading.uncovered_ops,
        )

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count
