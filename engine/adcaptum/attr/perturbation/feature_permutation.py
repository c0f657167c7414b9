"""Feature permutation at the inputs and at a layer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.futures import Future

from adcaptum.attr.facade.answer import like_inputs, like_layer
from adcaptum.attr.facade.attribution import LayerAttribution, PerturbationAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward, Layers, TargetType, Tensors
from adcaptum.attr.facade.layers import activations
from adcaptum.attr.facade.masks import like_values
from adcaptum.attr.facade.perturbing.options import title, warn_of_ignored
from adcaptum.attr.facade.perturbing.output_form import output_form, output_form_later
from adcaptum.attr.facade.perturbing.perturbation import perturbed
from adcaptum.attr.facade.perturbing.perturbation_call import PerturbationCall
from adcaptum.attr.facade.perturbing.unaligned import Unaligned
from adcaptum.attr.facade.sites import site_of
from adcaptum.engine.execution.forwards.futures import following
from adcaptum.engine.execution.forwards.whole_batch import WholeBatch
from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.perturbation import feature_permutation
from adcaptum.engine.methods.perturbation.permutations import donors
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.vocabulary.evaluation import Output
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.method import Traits

logger = logging.getLogger(__name__)

Permute = Callable[[Tensor, Tensor], Tensor]


def _permute_feature(x: Tensor, feature_mask: Tensor) -> Tensor:
    """Exchanges the masked elements among the examples; none keeps its own.

    Args:
        x: Shape (examples, *features), two examples at least.
        feature_mask: bool that broadcasts to it.
    """
    seed = int(torch.randint(1 << 62, ()))
    (givers,) = donors(seed, torch.zeros(1, dtype=torch.int64, device=x.device), len(x))
    return torch.where(feature_mask, x[givers], x)


class FeaturePermutation(PerturbationAttribution):
    """The loss of the output when a feature's values are exchanged among the examples.

    The forward may give one number per example, or one for the batch, such as an error. The result
    has a row for each number of the output, as that of FeatureAblation. A single example has
    no other to exchange with: all values are zero, and a warning is logged.

    Attributes:
        perm_func: The exchange: takes an input with all examples and a bool mask of the feature's
            elements, and returns the input with these elements permuted.
    """

    def __init__(self, forward_func: Forward, perm_func: Permute = _permute_feature) -> None:
        super().__init__(forward_func)
        self.perm_func = perm_func

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: object,
    ) -> Tensors:
        """Permutes each feature in turn; further keyword arguments are ignored."""
        warn_of_ignored(self, kwargs)
        call = self._call(inputs, target, additional_forward_args, feature_mask)
        if _alone(call):
            return like_inputs(call.call, _nothing(call.call, call.call.explicand.inputs))
        return call.attributions(
            _method(self.perm_func, call.unaligned),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
            in_order=self.perm_func is not _permute_feature,
        )

    def attribute_future(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: object,
    ) -> Future[Tensors]:
        """Explains a forward that gives a `torch.futures.Future` of its output."""
        warn_of_ignored(self, kwargs)
        call = self._call(inputs, target, additional_forward_args, feature_mask)
        if _alone(call):
            return _nothing_later(call.call)
        return call.attributions_later(
            _method(self.perm_func, call.unaligned),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )

    def _call(
        self,
        inputs: Tensors,
        target: TargetType,
        additional_forward_args: object,
        feature_mask: Tensors | None,
    ) -> PerturbationCall:
        return PerturbationCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
        )


class LayerFeaturePermutation(LayerAttribution, PerturbationAttribution):
    """The loss of the output when a layer's feature is exchanged among the examples."""

    perm_func: Permute

    def __init__(
        self, forward_func: Forward, layer: Layers, device_ids: list[int] | None = None
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self.perm_func = _permute_feature

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        layer_mask: Tensors | None = None,
        perturbations_per_eval: int = 1,
    ) -> Tensors:
        """Permutes each feature of the layer in turn."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module),
            every_output=True,
        )
        values = activations(call)
        if call.explicand.count == 1:
            return like_layer(_nothing(call, values))
        explicand = replace(
            call.explicand, values=values, feature_mask=like_values(layer_mask, values)
        )
        answer = perturbed(
            replace(call, explicand=explicand),
            _method(self.perm_func),
            per_eval=perturbations_per_eval,
            in_order=self.perm_func is not _permute_feature,
        )
        return like_layer(answer.values)


def _alone(call: PerturbationCall) -> bool:
    """Says whether there is a single example, and no input has rows of its own."""
    return call.unaligned is None and call.call.explicand.count == 1


def _method(
    perm_func: Permute, unaligned: Unaligned | None = None
) -> feature_permutation.FeaturePermutation | _Custom:
    if unaligned is not None:
        return _Custom(perm_func, unaligned.loose)
    if perm_func is _permute_feature:
        return feature_permutation.FeaturePermutation()
    return _Custom(perm_func)


def _nothing(call: CaptumCall, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return _zeros(call, like, output_form(call))


def _nothing_later(call: CaptumCall) -> Future[Tensors]:
    inputs = call.explicand.inputs
    asked = output_form_later(call)
    return following(asked, lambda whole: like_inputs(call, _zeros(call, inputs, whole)))


def _zeros(call: CaptumCall, like: tuple[Tensor, ...], whole: WholeBatch) -> tuple[Tensor, ...]:
    """Returns zeros for each number of the output, and logs a warning."""
    logger.warning(
        "a single example has no other to exchange its features with: all values are zero"
    )
    outputs = 1 if isinstance(call.explicand.target, Output) else whole.outputs
    return tuple(
        torch.zeros(
            outputs,
            *t.shape[1:],
            device=t.device,
            dtype=accumulator_dtype(t.dtype) if t.is_floating_point() else torch.float32,
        )
        for t in like
    )


@dataclass(frozen=True, slots=True)
class _Custom(feature_permutation.FeaturePermutation):
    """Feature permutation with a user's function, or of inputs of different lengths.

    Attributes:
        perm_func: The function.
        loose: For each input, True if every example has the whole of it; then its own rows are
            exchanged. Empty: False for all.
    """

    traits: ClassVar[Traits] = replace(feature_permutation.FeaturePermutation.traits, random=False)

    perm_func: Permute
    loose: tuple[bool, ...] = ()

    def source(self, ends: tuple[Tensor, ...], features: Features, _seed: int, /) -> Rows:
        return _Exchanged(ends, features, self.perm_func, self.loose or (False,) * len(ends))

    def check(self, explicand: Explicand) -> None:
        """Accepts a single example beside a list, whose own rows are exchanged."""
        if not self.loose:
            feature_permutation.FeaturePermutation.check(self, explicand)


@dataclass(frozen=True, eq=False)
class _Exchanged(Rows):
    """All examples with one feature after another permuted by a function, and at last unchanged.

    Samples are made for all examples together, each once, since the function may draw.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        features: The features of the elements.
        perm_func: The function.
        loose: For each tensor whether each example has the whole of an input.
    """

    ends: tuple[Tensor, ...]
    features: Features
    perm_func: Permute
    loose: tuple[bool, ...]

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.features.count + 1

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        assert e1 - e0 == self.count, "all examples exchange together"
        made = [self._sample(s) for s in range(s0, s1)]
        return tuple(torch.stack(parts, 1) for parts in zip(*made, strict=True))

    def _sample(self, s: int) -> tuple[Tensor, ...]:
        numbers = torch.arange(self.features.count, device=self.ends[0].device)
        masks = [
            mask.squeeze(1) if mask.dim() > t.dim() else mask
            for mask, t in zip(self.features.select((numbers == s)[None]), self.ends, strict=True)
        ]
        touched = [bool(mask.any()) for mask in masks]
        rows = [
            t.shape[1] if whole else len(t) for t, whole in zip(self.ends, self.loose, strict=True)
        ]
        if any(own and count < 2 for own, count in zip(touched, rows, strict=True)):
            logger.warning(
                "feature %d has a single row, nothing to exchange it with: it is zero", s
            )
            return self.ends
        return tuple(
            self._permuted(t, mask, whole=whole) if own else t
            for t, mask, own, whole in zip(self.ends, masks, touched, self.loose, strict=True)
        )

    def _permuted(self, t: Tensor, mask: Tensor, *, whole: bool) -> Tensor:
        return self.perm_func(t[0], mask[0]).expand_as(t) if whole else self.perm_func(t, mask)
