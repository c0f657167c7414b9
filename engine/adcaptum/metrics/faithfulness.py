"""Measures of whether attributed features are those that the output depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import drawn_seed, run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.engine.metrics.completeness import Completeness
from adcaptum.engine.metrics.correlation import FaithfulnessCorrelation, FaithfulnessEstimate
from adcaptum.engine.metrics.curves import Curve, Monotonicity
from adcaptum.engine.metrics.road import Road
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.metrics.attributions import checked_attributions

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class _Measure(Protocol):
    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]: ...


def deletion(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    feature_mask: Tensors | None = None,
    steps: int = 20,
    normalize: bool = False,
) -> Score:
    """Measures the area under the output as the most attributed features go to the baseline.

    Small for faithful attributions. Also called pixel flipping; see
    `adcaptum.engine.metrics.curves.Curve`.

    Args:
        forward_func: The model.
        inputs: A tensor, or a tuple of one per input of the model.
        attributions: Of the same shapes; a feature's is the sum over its elements. Methods that
            give each element of a group the group's value count as often as it has elements.
        target: The explained output.
        baselines: The values of deleted features; None: zeros.
        additional_forward_args: Further arguments of the model.
        feature_mask: Groups of elements that go together, as in `FeatureAblation`.
        steps: The number of steps.
        normalize: Whether outputs are relative, 1 at the input and 0 at the baseline.

    Returns:
        The score: its values, and the curve of outputs.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, feature_mask)
    return _measured(call, attributions, Curve(False, _positive(steps), normalize))


def insertion(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    feature_mask: Tensors | None = None,
    steps: int = 20,
    normalize: bool = False,
) -> Score:
    """Measures the area under the output as the most attributed features come to the baseline.

    Large for faithful attributions. For the arguments see `deletion`.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, feature_mask)
    return _measured(call, attributions, Curve(True, _positive(steps), normalize))


def monotonicity(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    feature_mask: Tensors | None = None,
    steps: int = 20,
) -> Score:
    """Measures the share of steps at which the output does not fall as features are inserted.

    The least attributed come first: see `adcaptum.engine.metrics.curves.Monotonicity`. For the
    arguments see `deletion`.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, feature_mask)
    return _measured(call, attributions, Monotonicity(_positive(steps)))


def faithfulness_correlation(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    feature_mask: Tensors | None = None,
    subset_size: int | None = None,
    n_samples: int = 100,
) -> Score:
    """Correlates sums of attributions with the output's decreases, over random subsets.

    See `adcaptum.engine.metrics.correlation.FaithfulnessCorrelation`; the subsets follow
    `torch.manual_seed`. For the other arguments see `deletion`.

    Args:
        forward_func: The model.
        inputs: The inputs.
        attributions: Their attributions.
        target: The explained output.
        baselines: The values of removed features.
        additional_forward_args: Further arguments of the model.
        feature_mask: Groups of elements.
        subset_size: The number of features of a subset; None: a fifth of them.
        n_samples: The number of subsets.

    Returns:
        The score: its values, and their standard errors.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, feature_mask)
    if n_samples < 2:
        raise InvalidInput("n_samples", n_samples, "at least 2")
    call = replace(call, explicand=replace(call.explicand, seed=drawn_seed()))
    return _measured(call, attributions, FaithfulnessCorrelation(subset_size, n_samples))


def faithfulness_estimate(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    feature_mask: Tensors | None = None,
) -> Score:
    """Correlates attributions with the output's decreases without each feature alone.

    See `adcaptum.engine.metrics.correlation.FaithfulnessEstimate`. For the arguments see
    `deletion`.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, feature_mask)
    return _measured(call, attributions, FaithfulnessEstimate())


def completeness(
    forward_func: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: TargetType = None,
    *,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    relative: bool = False,
) -> Score:
    """Measures |sum of attributions - (output - output at the baseline)|.

    See `adcaptum.engine.metrics.completeness.Completeness`. For the other arguments see `deletion`.

    Args:
        forward_func: The model.
        inputs: The inputs.
        attributions: Their attributions.
        target: The explained output.
        baselines: The baselines.
        additional_forward_args: Further arguments of the model.
        relative: Whether the error is relative to the output's difference.
    """
    call = _call(forward_func, inputs, target, baselines, additional_forward_args, None)
    return _measured(call, attributions, Completeness(relative))


def road(
    forward_func: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: TargetType = None,
    *,
    additional_forward_args: object = None,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    least_first: bool = False,
) -> Score:
    """Measures the mean output as the most attributed pixels are filled in from their neighbours.

    See `adcaptum.engine.metrics.road.Road`: small for faithful attributions, large with
    `least_first`. The noise follows `torch.manual_seed`.

    Args:
        forward_func: The model.
        inputs: Images, (examples, channels, height, width).
        attributions: Of the same shape, or with one channel; a pixel's is the sum over channels.
        target: The explained output.
        additional_forward_args: Further arguments of the model.
        shares: The shares of pixels that are removed, each between 0 and 1.
        noise: The standard deviation of the noise of filled pixels.
        least_first: Whether the least attributed pixels are removed first.

    Returns:
        The score: its values, and the curve of outputs, a point for each share.
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise InvalidInput("shares", shares, "between 0 and 1, both excluded")
    call = _call(forward_func, inputs, target, None, additional_forward_args, None)
    call = replace(call, explicand=replace(call.explicand, seed=drawn_seed()))
    measure = Road(tuple(shares), noise, least_first)
    images = call.explicand.inputs[0]
    one = attributions.shape == images[:, :1].shape
    each = (attributions,) if one else checked_attributions(attributions, (images,))
    return run_flow(call, measure.flow(call.explicand, each))


def _call(
    forward_func: Forward,
    inputs: Tensors,
    target: TargetType,
    baselines: BaselineType,
    additional_forward_args: object,
    feature_mask: Tensors | None,
) -> CaptumCall:
    return CaptumCall.of(
        forward_func,
        inputs,
        target=target,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=feature_mask,
    )


def _measured(call: CaptumCall, attributions: Tensors, measure: _Measure) -> Score:
    each = checked_attributions(attributions, call.explicand.inputs)
    return run_flow(call, measure.flow(call.explicand, each))


def _positive(steps: int) -> int:
    if steps < 1:
        raise InvalidInput("steps", steps, "at least 1")
    return steps
