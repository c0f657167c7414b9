"""Comparison of attacks by a metric of the model's outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adcaptum.attr import Max, Mean, Min, Stat, Summarizer
from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.forms import Forward
from adcaptum.robust.evaluations import outputs_of

ORIGINAL_KEY = "Original"


@dataclass(frozen=True, slots=True, eq=False)
class _Attack:
    """An attack and the ways to apply it; the attributes are arguments of `add_attack`."""

    attack: Callable[..., Any]
    name: str
    num_attempts: int
    apply_before_preproc: bool
    attack_kwargs: dict[str, Any]
    additional_args: Sequence[str]

    @property
    def stats(self) -> list[type[Stat]]:
        """The statistics over its attempts."""
        return [Mean, Min, Max] if self.num_attempts > 1 else [Mean]


class AttackComparator:
    """A table of a metric without and with attacks, batch by batch.

    Args:
        forward_func: The model.
        metric: A function of the model's outputs and the keyword arguments of `evaluate`. It
            returns a number, a tensor, or a tuple of them (also a named one).
        preproc_fn: Brings inputs to the form that the model takes; None: they are in it.
    """

    def __init__(
        self,
        forward_func: Forward,
        metric: Callable[..., Any],
        preproc_fn: Callable[..., Any] | None = None,
    ) -> None:
        self.forward_func = forward_func
        self.metric = metric
        self.preproc_fn = preproc_fn
        self.attacks: dict[str, _Attack] = {}
        self.summary_results: dict[str, Summarizer] = {}
        self._form: Callable[..., Any] | None = None

    def add_attack(
        self,
        attack: Callable[..., Any],
        name: str | None = None,
        num_attempts: int = 1,
        apply_before_preproc: bool = True,
        attack_kwargs: dict[str, Any] | None = None,
        additional_attack_arg_names: list[str] | None = None,
    ) -> None:
        """Adds an attack.

        Args:
            attack: A `Perturbation`, or a function of inputs that returns them changed.
            name: Its name; None: that of its class.
            num_attempts: How often it is tried, for attacks that draw at random.
            apply_before_preproc: Whether it changes the inputs before they are preprocessed.
            attack_kwargs: Its arguments.
            additional_attack_arg_names: The arguments of `evaluate` that it takes, too.

        Raises:
            RuntimeError: If there is an attack of that name.
        """
        name = type(attack).__name__ if name is None else name
        if name in self.attacks:
            raise RuntimeError(f"Cannot add attack with same name as existing attack {name}")
        if num_attempts < 1:
            raise InvalidInput("num_attempts", num_attempts, "at least 1")
        self.attacks[name] = _Attack(
            attack,
            name,
            num_attempts,
            apply_before_preproc,
            dict(attack_kwargs or {}),
            tuple(additional_attack_arg_names or ()),
        )

    def evaluate(
        self,
        inputs: Any,
        additional_forward_args: object = None,
        perturbations_per_eval: int = 1,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Evaluates a batch without and with each attack.

        Args:
            inputs: The batch, in the form that the preprocessing takes.
            additional_forward_args: Further arguments of the model: tensors with a value for each
                example are repeated for the copies of a batch.
            perturbations_per_eval: The most copies of the batch that are evaluated at once.
            **kwargs: Arguments of the metric, and of attacks that name them.

        Returns:
            The metric without attack, "Original"; for each attack its "mean", and, if there are
            several attempts, the "min" and "max" over them.
        """
        if perturbations_per_eval < 1:
            raise InvalidInput("perturbations_per_eval", perturbations_per_eval, "at least 1")
        found = {ORIGINAL_KEY: Summarizer([Mean()])}
        for attack in self.attacks.values():
            found[attack.name] = Summarizer([stat() for stat in attack.stats])
        waiting: list[tuple[str, Any]] = []

        def evaluate_waiting() -> None:
            copies = [copy for _, copy in waiting]
            outputs = outputs_of(self.forward_func, copies, additional_forward_args)
            for (name, _), output in zip(waiting, outputs, strict=True):
                found[name].update(self._metric_of(output, kwargs))
            waiting.clear()

        plain = self._prepared(inputs)
        waiting.append((ORIGINAL_KEY, plain))
        for attack in self.attacks.values():
            options = {**self._named(attack, kwargs), **attack.attack_kwargs}
            for _ in range(attack.num_attempts):
                if len(waiting) == perturbations_per_eval:
                    evaluate_waiting()
                if attack.apply_before_preproc:
                    changed = self._prepared(attack.attack(inputs, **options))
                else:
                    changed = attack.attack(plain, **options)
                waiting.append((attack.name, changed))
        evaluate_waiting()
        return self._results(found)

    def summary(self) -> dict[str, Any]:
        """Returns the mean over the evaluated batches, of the mean over each batch's examples.

        Of attacks with several attempts there are three: "NAME Mean Attempt", "Min" and "Max".
        """
        return {name: self._formed(each.summary) for name, each in self.summary_results.items()}

    def reset(self) -> None:
        """Forgets the evaluated batches; attacks stay."""
        self.summary_results = {}
        self._form = None

    def _prepared(self, inputs: Any) -> Any:
        return inputs if self.preproc_fn is None else self.preproc_fn(inputs)

    def _named(self, attack: _Attack, given: dict[str, Any]) -> dict[str, Any]:
        for name in attack.additional_args:
            if name not in given:
                warnings.warn(
                    f"Additional sample arg {name} not provided for {attack.name}", stacklevel=3
                )
        return {name: given[name] for name in attack.additional_args if name in given}

    def _metric_of(self, output: Any, options: dict[str, Any]) -> Any:
        value = self.metric(output, **options)
        if self._form is None and isinstance(value, tuple):
            # A named tuple is made of its fields, another of an iterable.
            kind: Any = type(value)
            self._form = kind if hasattr(value, "_fields") else lambda *fields: tuple(fields)
        return value

    def _results(self, found: dict[str, Summarizer]) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for name, summarizer in found.items():
            of_attempts = self._formed(summarizer.summary)
            results[name] = of_attempts["mean"] if name == ORIGINAL_KEY else of_attempts
            for statistic, value in of_attempts.items():
                several = len(of_attempts) > 1
                key = f"{name} {statistic.title()} Attempt" if several else name
                self.summary_results.setdefault(key, Summarizer([Mean()])).update(_over_rows(value))
        return results

    def _formed(self, summary: Any) -> dict[str, Any]:
        """A summary by statistics, each in the form of the metric."""
        if isinstance(summary, dict):
            return summary
        assert self._form is not None, "the metric is a tuple"
        return {name: self._form(*(each[name] for each in summary)) for name in summary[0]}


def _over_rows(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.mean(0) if value.dim() else value
    if isinstance(value, tuple):
        return tuple(_over_rows(each) for each in value)
    return value
