"""Counterfactuals of a table's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward
from adcaptum.engine.attacks.counterfactual import CounterfactualSearch
from adcaptum.robust.losses import loss_call
from adcaptum.robust.perturbation import Perturbation

Range = tuple[float, float]


class Counterfactuals(NamedTuple):
    """Counterfactuals of some examples.

    Attributes:
        inputs: The nearest row that was found for each example; the example itself where none was.
        found: A mask of the examples for which one was found, (examples,).
        distance: The sum of the changes, each in its feature's unit, (examples,).
        changed: A mask of the features that differ, (examples, features).
    """

    inputs: Tensor
    found: Tensor
    distance: Tensor
    changed: Tensor


class Counterfactual(Perturbation):
    """The smallest change of a row that gives another answer: "had this been so, then...".

    Wachter, Mittelstadt, Russell (2017), https://arxiv.org/abs/1711.00399: by gradients, near in
    the sum of the changes in the features' units, and with few features changed. Not part of
    Captum.

    Args:
        forward_func: The model, of one tensor of rows, (examples, features).
        lower_bound: The least value of a feature, or of each.
        upper_bound: The largest.
        scales: The unit of each feature's change, (features,): in the paper the median absolute
            deviation in the training set. None: 1.
        immutable: The numbers of features that must not change.
    """

    def __init__(
        self,
        forward_func: Forward,
        lower_bound: float | Tensor = float("-inf"),
        upper_bound: float | Tensor = float("inf"),
        scales: Tensor | None = None,
        immutable: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.forward_func = forward_func
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.scales = scales
        self.immutable = tuple(immutable)

    def perturb(
        self,
        inputs: Tensor,
        target: int | Tensor | list[int] | Range,
        additional_forward_args: object = None,
        **options: Any,
    ) -> Tensor:
        """Returns the rows alone; for the arguments see `search`."""
        return self.search(inputs, target, additional_forward_args, **options).inputs

    def search(
        self,
        inputs: Tensor,
        target: int | Tensor | list[int] | Range,
        additional_forward_args: object = None,
        *,
        steps: int = 100,
        step_size: float = 0.1,
        margin: float = 0.0,
    ) -> Counterfactuals:
        """Searches for a counterfactual of each row, all side by side.

        Args:
            inputs: The rows, (examples, features).
            target: The wanted class, or one per example, of outputs (examples, classes); or the
                wanted range (low, high) of outputs with one number per example.
            additional_forward_args: Further arguments of the model.
            steps: The most steps of the descent.
            step_size: The length of a step, in the features' units.
            margin: How far the wanted class's output is to be above the others, or the output
                within the range.
        """
        rows = _checked_rows(inputs)
        if isinstance(target, tuple) and not _is_range(target):
            raise InvalidInput("target", target, "(low, high), a range of the output")
        shortfall = _of_range if isinstance(target, tuple) else _of_class
        call = loss_call(
            self.forward_func,
            lambda outputs, wanted: shortfall(outputs, wanted) + margin,
            rows,
            torch.as_tensor(target) if isinstance(target, list) else target,
            additional_forward_args,
        )
        found = run_flow(call, self._search(call, steps, step_size).flow(call.explicand))
        change = (found.rows - call.explicand.inputs[0]).abs()
        distance = (change / self._scales(call)).sum(1)
        return Counterfactuals(found.rows, found.found, distance, change > 0)

    def _search(self, call: CaptumCall, steps: int, step_size: float) -> CounterfactualSearch:
        (rows,) = call.explicand.inputs
        features = rows.shape[1]
        mutable = torch.ones(features, dtype=torch.bool, device=rows.device)
        for i in self.immutable:
            if not -features <= i < features:
                raise InvalidInput("immutable", i, f"a feature's number, below {features}")
            mutable[i] = False
        lower = _of_features("lower_bound", self.lower_bound, rows)
        upper = _of_features("upper_bound", self.upper_bound, rows)
        if bool((lower > upper).any()):
            raise InvalidInput("lower_bound", self.lower_bound, "at most the upper bound")
        if steps < 1 or step_size <= 0:
            raise InvalidInput("steps, step_size", (steps, step_size), "above 0")
        return CounterfactualSearch(self._scales(call), mutable, lower, upper, steps, step_size)

    def _scales(self, call: CaptumCall) -> Tensor:
        (rows,) = call.explicand.inputs
        scales = _of_features("scales", 1.0 if self.scales is None else self.scales, rows)
        if not bool((scales > 0).all()):
            raise InvalidInput("scales", scales.tolist(), "positive")
        return scales


def _is_range(target: tuple[Any, ...]) -> bool:
    return len(target) == 2 and bool(target[0] <= target[1])


def _checked_rows(inputs: object) -> Tensor:
    if not isinstance(inputs, Tensor) or inputs.dim() != 2 or not inputs.is_floating_point():
        found = (tuple(inputs.shape), inputs.dtype) if isinstance(inputs, Tensor) else type(inputs)
        raise InvalidInput("inputs", found, "a floating-point tensor (examples, features)")
    return inputs


def _of_features(name: str, value: float | Tensor, rows: Tensor) -> Tensor:
    """A number for each feature, (features,)."""
    numbers = torch.as_tensor(value, dtype=rows.dtype, device=rows.device)
    if numbers.dim() > 1 or (numbers.dim() and len(numbers) != rows.shape[1]):
        allowed = f"a number, or one for each of {rows.shape[1]} features"
        raise InvalidInput(name, f"of shape {tuple(numbers.shape)}", allowed)
    return numbers.detach().expand(rows.shape[1])


def _of_class(outputs: Any, target: Any) -> Tensor:
    """The largest other output less the wanted class's, (rows,); 0 or more where it loses."""
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
        raise InvalidInput(
            "target",
            target,
            "a range (low, high): the model's output is not (examples, classes)",
        )
    wanted = torch.as_tensor(target, device=outputs.device).expand(len(outputs))[:, None]
    if bool(((wanted < 0) | (wanted >= outputs.shape[1])).any()):
        raise InvalidInput("target", target, f"a class below {outputs.shape[1]}")
    others = outputs.scatter(1, wanted, -torch.inf).amax(1)
    behind = others - outputs.gather(1, wanted)[:, 0]
    # A tie is not won: the least number above 0 of its size.
    return torch.where(behind == 0, behind + torch.finfo(behind.dtype).tiny, behind)


def _of_range(outputs: Any, target: Range) -> Tensor:
    """The distance of each output outside the range, (rows,); negative inside."""
    if not isinstance(outputs, Tensor) or outputs.numel() != len(outputs):
        raise InvalidInput("target", target, "a class: the model has several outputs")
    value = outputs.reshape(len(outputs))
    low, high = target
    return torch.maximum(low - value, value - high)
