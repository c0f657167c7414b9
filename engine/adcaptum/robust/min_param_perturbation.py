"""The least strength of an attack that changes a model's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.forms import Forward
from adcaptum.robust.evaluations import count, outputs_of, rows_of

Mode = Literal["linear", "binary"]
# A step of which rounding is all that is left is none.
_ROUNDING = 1e-9


class MinParamPerturbation:
    """A search for the least value of an attack's argument at which the model errs.

    Args:
        forward_func: The model.
        attack: A `Perturbation`, or a function of inputs that returns them changed.
        arg_name: The argument's name.
        arg_min: Its first value.
        arg_max: Its end, which is not tried.
        arg_step: The distance between values; they are arg_min + i * arg_step.
        mode: "linear" tries the values in order; "binary" halves their range, for attacks that
            succeed at every value above the least.
        num_attempts: How often each value is tried, for attacks that draw at random.
        preproc_fn: Brings inputs to the form that the model takes; None: they are in it.
        apply_before_preproc: Whether the attack changes inputs before they are preprocessed.
        correct_fn: A function of the outputs, the target if there is one, and `correct_fn_kwargs`:
            whether the model is right on all examples. None: the largest output is the target.
    """

    def __init__(
        self,
        forward_func: Forward,
        attack: Callable[..., Any],
        arg_name: str,
        arg_min: float,
        arg_max: float,
        arg_step: float,
        mode: str = "linear",
        num_attempts: int = 1,
        preproc_fn: Callable[..., Any] | None = None,
        apply_before_preproc: bool = False,
        correct_fn: Callable[..., Any] | None = None,
    ) -> None:
        if arg_step <= 0:
            raise InvalidInput("arg_step", arg_step, "above 0")
        if arg_max <= arg_min + arg_step:
            allowed = "smaller than the range between arg_min and arg_max"
            raise InvalidInput("arg_step", arg_step, allowed)
        if mode.lower() not in get_args(Mode):
            raise InvalidInput("mode", repr(mode), "linear or binary")
        if num_attempts < 1:
            raise InvalidInput("num_attempts", num_attempts, "at least 1")
        self.forward_func = forward_func
        self.attack = attack
        self.arg_name = arg_name
        self.arg_min = arg_min
        self.arg_max = arg_max
        self.arg_step = arg_step
        self.mode = cast("Mode", mode.lower())
        self.num_attempts = num_attempts
        self.preproc_fn = preproc_fn
        self.apply_before_preproc = apply_before_preproc
        self.correct_fn = predicted if correct_fn is None else correct_fn

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: object = None,
        target: Any = None,
        perturbations_per_eval: int = 1,
        attack_kwargs: dict[str, Any] | None = None,
        correct_fn_kwargs: dict[str, Any] | None = None,
        *,
        per_example: bool = False,
    ) -> tuple[Any, Any]:
        """Searches for the least value at which the model errs on an example of the batch.

        Args:
            inputs: The batch, in the form that the preprocessing takes.
            additional_forward_args: Further arguments of the model: tensors with a value for each
                example are repeated for the copies of a batch.
            target: The right answer, an index, or one per example.
            perturbations_per_eval: The most changed copies that are evaluated at once.
            attack_kwargs: Further arguments of the attack.
            correct_fn_kwargs: Further arguments of `correct_fn`.
            per_example: Whether to search for each example's own least value, side by side. Then
                inputs are a tensor or a tuple of tensors (before preprocessing, too), and arguments
                with a value for each example follow the examples; a `correct_fn` says of a batch
                of one whether it is right.

        Returns:
            The changed inputs (before preprocessing, if they are changed there) and the value; None
            twice if there is none. With per_example, the changed inputs, unchanged where there is
            no value, and the values, (examples,), NaN where there is none.
        """
        if perturbations_per_eval < 1:
            raise InvalidInput("perturbations_per_eval", perturbations_per_eval, "at least 1")
        search = _Search(
            self,
            {} if target is None else {"target": target},
            additional_forward_args,
            perturbations_per_eval,
            attack_kwargs or {},
            correct_fn_kwargs or {},
        )
        if per_example:
            return search.of_each(inputs)
        found, step = search.of_batch(inputs)
        return found, None if step is None else self.value(step)

    @property
    def steps(self) -> int:
        """The number of values."""
        return ceil((self.arg_max - self.arg_min) / self.arg_step - _ROUNDING)

    def value(self, step: int) -> float:
        """Returns the argument at a step, from 0."""
        return self.arg_min + step * self.arg_step


class _Search:
    """A search on one batch; the attributes are arguments of `evaluate`."""

    def __init__(
        self,
        of: MinParamPerturbation,
        target: dict[str, Any],
        arguments: object,
        at_once: int,
        attack_kwargs: dict[str, Any],
        correct_kwargs: dict[str, Any],
    ) -> None:
        self.of = of
        self.target = target
        self.arguments = arguments
        self.at_once = at_once
        self.attack_kwargs = attack_kwargs
        self.correct_kwargs = correct_kwargs

    def of_batch(self, inputs: Any) -> tuple[Any, int | None]:
        """Returns the inputs at the least step that succeeds, and that step."""
        of = self.of
        if of.mode == "linear":
            return self._first(inputs, (i for i in range(of.steps) for _ in range(of.num_attempts)))
        best, found = None, None
        low, high, failed = 0, of.steps, -1
        while high > low:
            middle = low + (high - low) // 2
            if middle == failed:
                break
            changed, step = self._first(inputs, iter([middle] * of.num_attempts))
            if step is None:
                low = failed = middle
            else:
                best, found, high = changed, step, middle
        return best, found

    def of_each(self, inputs: Any) -> tuple[Any, Tensor]:
        """Returns the inputs of each example at its least step, and the values, (examples,)."""
        of = self.of
        examples = count(inputs)
        values = torch.full((examples,), torch.nan, dtype=torch.float64)
        before = of.apply_before_preproc or of.preproc_fn is None
        plain = inputs if before else cast("Any", of.preproc_fn)(inputs)
        tensors = plain if isinstance(plain, tuple) else (plain,)
        if not all(isinstance(t, Tensor) for t in tensors):
            found = type(plain).__name__
            raise InvalidInput("inputs", f"of type {found}", "tensors, with per_example")
        changed = [t.detach().clone() for t in tensors]
        low, high = torch.zeros(examples, dtype=torch.int64), torch.full((examples,), of.steps)
        alive = torch.ones(examples, dtype=torch.bool)
        tried = torch.full((examples,), -1)
        while alive.any():
            middle = low.clone() if of.mode == "linear" else low + (high - low) // 2
            again = middle == tried
            alive &= ~again
            for step in middle[alive].unique().tolist():
                rows = (alive & (middle == step)).nonzero()[:, 0]
                fooled, there = self._fooled(inputs, rows, examples, step)
                hit, missed = rows[fooled], rows[~fooled]
                values[hit] = of.value(step)
                for t, each in zip(changed, there, strict=True):
                    t[hit.to(t.device)] = each[fooled.to(each.device)].to(t)
                high[hit] = step
                if of.mode == "linear":
                    low[missed] = step + 1
                    alive[hit] = False
                else:
                    low[missed], tried[missed] = step, step
            alive &= low < high
        whole = tuple(changed)
        return (whole if isinstance(plain, tuple) else whole[0]), values

    def _fooled(
        self, inputs: Any, rows: Tensor, examples: int, step: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Tries a step on some examples: a mask of those that fool the model, and the changed."""
        some = _Search(
            self.of,
            rows_of_all(self.target, rows, examples),
            rows_of(self.arguments, rows, examples),
            self.at_once,
            rows_of_all(self.attack_kwargs, rows, examples),
            rows_of_all(self.correct_kwargs, rows, examples),
        )
        batch = rows_of(inputs, rows, examples)
        fooled = torch.zeros(len(rows), dtype=torch.bool)
        kept: list[Tensor] = []
        attempts = iter([step] * self.of.num_attempts)
        for changed, output, _ in some.evaluated(batch, attempts):
            tensors = changed if isinstance(changed, tuple) else (changed,)
            kept = kept or [t.detach().clone() for t in tensors]
            new = ~some.right(output, len(rows)) & ~fooled
            for t, each in zip(kept, tensors, strict=True):
                t[new.to(t.device)] = each[new.to(each.device)]
            fooled |= new
            if fooled.all():
                break
        return fooled, tuple(kept)

    def right(self, output: Any, rows: int) -> Tensor:
        """Compares each row with the right answer, (rows,), on the CPU."""
        if self.of.correct_fn is predicted and "target" in self.target:
            return hits(output, **self.target).cpu()
        found = []
        for i in range(rows):
            row = torch.tensor([i])
            options = rows_of_all({**self.target, **self.correct_kwargs}, row, rows)
            found.append(bool(self.of.correct_fn(rows_of(output, row, rows), **options)))
        return torch.tensor(found)

    def evaluated(self, inputs: Any, steps: Iterator[int]) -> Iterator[tuple[Any, Any, int]]:
        """Evaluates the attack at steps, some at once: changed inputs, outputs and step."""
        of = self.of
        plain = inputs if of.preproc_fn is None else of.preproc_fn(inputs)
        waiting: list[tuple[Any, Any, int]] = []

        def outputs() -> Iterator[tuple[Any, Any, int]]:
            copies = [prepared for _, prepared, _ in waiting]
            each = outputs_of(of.forward_func, copies, self.arguments)
            for (changed, _, step), output in zip(waiting, each, strict=True):
                yield changed, output, step
            waiting.clear()

        for step in steps:
            options = {**self.attack_kwargs, of.arg_name: of.value(step)}
            changed = of.attack(inputs if of.apply_before_preproc else plain, **options)
            after = of.apply_before_preproc and of.preproc_fn is not None
            prepared = cast("Any", of.preproc_fn)(changed) if after else changed
            waiting.append((changed, prepared, step))
            if len(waiting) == self.at_once:
                yield from outputs()
        if waiting:
            yield from outputs()

    def _first(self, inputs: Any, steps: Iterator[int]) -> tuple[Any, int | None]:
        """The changed inputs of the first step at which the model errs, and the step."""
        for changed, output, step in self.evaluated(inputs, steps):
            if not self.of.correct_fn(output, **self.target, **self.correct_kwargs):
                return changed, step
        return None, None


def hits(model_out: Any, target: Any) -> Tensor:
    """Compares the largest output of each example with the target, (examples,)."""
    if not isinstance(model_out, Tensor) or model_out.dim() != 2:
        found = tuple(model_out.shape) if isinstance(model_out, Tensor) else type(model_out)
        allowed = "(examples, classes), or give a correct_fn"
        raise InvalidInput("the model's output", f"of shape {found}", allowed)
    return model_out.argmax(1) == torch.as_tensor(target, device=model_out.device)


def predicted(model_out: Any, target: Any) -> bool:
    """Returns True if the largest output of every example is the target."""
    return bool(hits(model_out, target).all())


def rows_of_all(named: dict[str, Any], rows: Tensor, examples: int) -> dict[str, Any]:
    """The arguments of some examples, where there is one for each."""
    return {name: rows_of(value, rows, examples) for name, value in named.items()}
