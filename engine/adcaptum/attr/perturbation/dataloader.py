"""Attribution of a metric over a whole data set, streamed batch by batch.

A pass over the data set is one evaluation of a model whose inputs are the features' presence and
whose output is the metric: it is explained like any other model. Memory is that of a batch and of
one accumulated state for each perturbation of a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import ceil
from operator import length_hint
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.answer import run_flow
from adcaptum.attr.facade.attribution import Attribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Tensors
from adcaptum.attr.facade.forwards import callable_of
from adcaptum.attr.facade.masks import whole_numbers
from adcaptum.attr.facade.perturbing.options import check_per_eval, title
from adcaptum.attr.perturbation.feature_ablation import FeatureAblation
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.methods.perturbation import feature_ablation
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.evaluation import EveryOutput
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.explicand_forms import in_common_dtype

Reduce = Callable[[Any, Any, tuple[Any, ...]], Any]
ToMetric = Callable[[Any], Tensor]


class InputRole:
    """Roles of the elements of a data loader's batches."""

    need_attr = 0
    """An element that is passed to the forward and explained."""
    need_forward = 1
    """An element that is passed to the forward."""
    no_forward = 2
    """An element for `reduce` alone, such as labels."""


class DataLoaderAttribution(Attribution):
    """Feature ablation of a metric over all batches of a data loader.

    Attributes:
        attr_method: The method; its forward is called with each batch.
    """

    def __init__(self, attr_method: Attribution) -> None:
        """Takes a FeatureAblation.

        Raises:
            InvalidInput: If it is something else.
        """
        if type(attr_method) is not FeatureAblation:
            raise InvalidInput("attr_method", type(attr_method).__name__, "a FeatureAblation")
        super().__init__(attr_method.forward_func)
        self.attr_method = attr_method

    def attribute(
        self,
        dataloader: Iterable[Any],
        input_roles: tuple[int, ...] | None = None,
        baselines: BaselineType = None,
        feature_mask: Tensors | None = None,
        reduce: Reduce | None = None,
        to_metric: ToMetric | None = None,
        perturbations_per_pass: int = 1,
        show_progress: bool = False,
        return_input_shape: bool = True,
    ) -> Tensors:
        """Ablates each feature in all batches.

        The data loader is gone through ceil((features + 1) / perturbations_per_pass) times.

        Args:
            dataloader: Gives batches: a tensor, or a list or tuple of as many elements each time.
            input_roles: Each element's `InputRole`; None: all are explained.
            baselines: A number or a tensor (1, *features), or one per explained element.
            feature_mask: An integer tensor (1, *features), or one per explained element.
            reduce: Folds a batch's output into a state: takes the state (None at first), the
                output and the batch as it was perturbed. None: outputs are concatenated.
            to_metric: Makes the metric of the last state; None: that is the metric.
            perturbations_per_pass: The number of perturbations of a pass; each has a state.
            show_progress: Whether to draw a bar of batches.
            return_input_shape: Whether each element gets its feature's value: (numbers of the
                metric, *features) for each explained element. Else one tensor (numbers of the
                metric, features).
        """
        check_per_eval(perturbations_per_pass)
        batches = iter(dataloader)
        first = next(batches)
        elements = first if isinstance(first, list | tuple) else (first,)
        roles = _roles(input_roles, len(elements))
        explained = tuple(
            e for e, role in zip(elements, roles, strict=True) if role == InputRole.need_attr
        )
        masks = _masks(feature_mask, explained)
        present, dense = torch.unique(
            torch.cat([m.flatten().cpu() for m in masks]), return_inverse=True
        )
        ids = tuple(
            d.view(m.shape).to(m.device)
            for d, m in zip(dense.split([m.numel() for m in masks]), masks, strict=True)
        )
        passes = ceil((len(present) + 1) / perturbations_per_pass)
        length = length_hint(dataloader, -1)
        with tqdm(
            total=None if length < 0 else passes * length,
            desc=title(self, show_progress),
            unit="batch",
            disable=not show_progress,
        ) as bar:
            metric = _Metric(
                callable_of(self.forward_func),
                dataloader,
                chain([first], batches),
                roles,
                _baselines(baselines, explained),
                ids,
                reduce or _concatenated,
                to_metric,
                bar.update,
            )
            values = _ablated(metric, len(present), perturbations_per_pass)
            # The length of a stream is known at its end.
            bar.total = bar.n
        values = values.to(explained[0].device)
        if not return_input_shape:
            whole = values.new_zeros(len(values), int(present.max()) + 1)
            whole[:, present.to(values.device)] = values
            return whole
        spread = tuple(
            values.to(t.device)[:, d.reshape(d.shape[1:]).expand(t.shape[1:])]
            for d, t in zip(ids, explained, strict=True)
        )
        return spread if isinstance(first, list | tuple) else spread[0]


class _Metric:
    """The metric of the data set with some features present: a model of coalitions."""

    def __init__(
        self,
        forward: Model,
        dataloader: Iterable[Any],
        begun: Iterator[Any],
        roles: tuple[int, ...],
        baselines: tuple[Tensor, ...],
        ids: tuple[Tensor, ...],
        reduce: Reduce,
        to_metric: ToMetric | None,
        on_batch: Callable[[], object],
    ) -> None:
        self.dtype = torch.float32
        self._forward = forward
        self._dataloader = dataloader
        self._begun: Iterator[Any] | None = begun
        self._roles = roles
        self._baselines = baselines
        self._ids = ids
        self._reduce = reduce
        self._to_metric = to_metric
        self._on_batch = on_batch

    def __call__(self, present: Tensor) -> Tensor:
        """Returns the metric with each coalition's features present, (coalitions, *metric)."""
        batches = self._begun or iter(self._dataloader)
        self._begun = None
        states: list[Any] = [None] * len(present)
        coalitions = present.bool()
        for batch in batches:
            elements = tuple(batch) if isinstance(batch, list | tuple) else (batch,)
            for i, coalition in enumerate(coalitions):
                perturbed = self._perturbed(elements, coalition)
                passed = (
                    e
                    for e, role in zip(perturbed, self._roles, strict=True)
                    if role != InputRole.no_forward
                )
                states[i] = self._reduce(states[i], self._forward(*passed), perturbed)
            self._on_batch()
        metrics = [self._to_metric(s) if self._to_metric else s for s in states]
        for metric in metrics:
            if not isinstance(metric, Tensor):
                raise InvalidInput("the metric", type(metric).__name__, "a torch.Tensor")
        made = torch.stack(metrics)
        self.dtype = made.dtype
        return made

    def _perturbed(self, elements: tuple[Any, ...], coalition: Tensor) -> tuple[Any, ...]:
        if coalition.all():
            return elements
        explained = iter(zip(self._ids, self._baselines, strict=True))
        return tuple(
            _shown(e, coalition, *next(explained)) if role == InputRole.need_attr else e
            for e, role in zip(elements, self._roles, strict=True)
        )


def _shown(t: Tensor, coalition: Tensor, ids: Tensor, baseline: Tensor) -> Tensor:
    present = coalition.to(t.device)[ids.to(t.device)]
    there = baseline.to(t.device)
    # Integer elements whose dtype cannot hold the baseline are promoted with it.
    whole, absent = (t, there.to(t)) if t.is_floating_point() else in_common_dtype(t, there)
    return torch.where(present, whole, absent)


def _ablated(metric: _Metric, features: int, per_pass: int) -> Tensor:
    """Returns the loss of each number of the metric without each feature, (numbers, features)."""
    # Coalitions are the inputs: one example of ones, of the metric's own precision or better.
    with translated():
        explicand = Explicand.of(torch.ones(1, features, dtype=torch.float64), target=EveryOutput())
    call = CaptumCall(metric, explicand, is_tuple=False)
    flow = feature_ablation.FeatureAblation().flow(explicand)
    (values,) = run_flow(call, flow, batch_rows=per_pass).values
    return values.to(accumulator_dtype(metric.dtype))


def _concatenated(state: Tensor | None, output: Tensor, _inputs: object) -> Tensor:
    return output if state is None else torch.cat([state, output])


def _roles(roles: tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    if not roles:
        return (InputRole.need_attr,) * count
    if len(roles) != count:
        raise InvalidInput(
            "input_roles", f"{len(roles)} of them", f"one for each element of a batch: {count}"
        )
    if InputRole.need_attr not in roles:
        raise InvalidInput("input_roles", roles, f"at least one of {InputRole.need_attr}")
    return tuple(roles)


def _masks(masks: Tensors | None, explained: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if masks is None:
        made, first = [], 0
        for t in explained:
            size = t[0].numel()
            made.append(torch.arange(first, first + size).view(1, *t.shape[1:]))
            first += size
        return tuple(made)
    each = whole_numbers("feature_mask", masks)
    _check_each("feature_mask", each, explained)
    return each


def _baselines(baselines: BaselineType, explained: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if baselines is None:
        return tuple(t.new_zeros(()) for t in explained)
    each = baselines if isinstance(baselines, tuple) else (baselines,)
    _check_each("baselines", each, explained)
    return tuple(
        b if isinstance(b, Tensor) else _number(b, t) for b, t in zip(each, explained, strict=True)
    )


def _number(baseline: float, like: Tensor) -> Tensor:
    return like.new_tensor(baseline) if like.is_floating_point() else torch.tensor(baseline)


def _check_each(name: str, each: tuple[object, ...], explained: tuple[Tensor, ...]) -> None:
    if len(each) != len(explained):
        raise InvalidInput(
            name, f"{len(each)} of them", f"one for each explained element: {len(explained)}"
        )
    for i, given in enumerate(each):
        if isinstance(given, Tensor) and given.shape[:1] != (1,):
            raise InvalidInput(
                f"{name}[{i}]",
                f"of shape {tuple(given.shape)}",
                "its first dimension must be 1: it is the same for all examples of the data set",
            )
