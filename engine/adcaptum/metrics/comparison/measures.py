"""The measures that a comparison knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.metrics._core.sensitivity import sensitivity_max
from adcaptum.metrics.faithfulness import (
    completeness,
    deletion,
    faithfulness_correlation,
    faithfulness_estimate,
    insertion,
    monotonicity,
)
from adcaptum.metrics.sparsity import complexity, effective_complexity, sparseness

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Attributions of a method, and all that measures may ask about them.

    Attributes:
        forward_func: The model.
        inputs: The explained inputs.
        attributions: Of their shapes.
        target: The explained output.
        baselines: The baselines.
        additional_forward_args: Further arguments of the model.
        explain: Explains other inputs by the same method, with a target and further arguments.
    """

    forward_func: Forward
    inputs: Tensors
    attributions: Tensors
    target: TargetType
    baselines: BaselineType
    additional_forward_args: object
    explain: Callable[..., Tensors]


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A measure of a comparison.

    Attributes:
        of: Gives each example's number, (examples,), of a method's attributions.
        better: Whether higher or lower numbers are better; None: neither.
    """

    of: Callable[[Explained], Tensor]
    better: Better | None = None


def _of_model(measure: Callable[..., Any], better: Better) -> Measure:
    def of(explained: Explained) -> Tensor:
        score = measure(
            explained.forward_func,
            explained.inputs,
            explained.attributions,
            explained.target,
            baselines=explained.baselines,
            additional_forward_args=explained.additional_forward_args,
        )
        values: Tensor = score.values
        return values

    return Measure(of, better)


def _sensitivity(explained: Explained) -> Tensor:
    return sensitivity_max(
        explained.explain,
        explained.inputs,
        target=explained.target,
        additional_forward_args=explained.additional_forward_args,
        baselines=explained.baselines,
    )


MEASURES: dict[str, Measure] = {
    "deletion": _of_model(deletion, "lower"),
    "insertion": _of_model(insertion, "higher"),
    "monotonicity": _of_model(monotonicity, "higher"),
    "faithfulness_correlation": _of_model(faithfulness_correlation, "higher"),
    "faithfulness_estimate": _of_model(faithfulness_estimate, "higher"),
    "completeness": _of_model(completeness, "lower"),
    "sensitivity_max": Measure(_sensitivity, "lower"),
    "sparseness": Measure(lambda e: sparseness(e.attributions).values, "higher"),
    "complexity": Measure(lambda e: complexity(e.attributions).values, "lower"),
    "effective_complexity": Measure(lambda e: effective_complexity(e.attributions).values, "lower"),
}
