"""The gradients of a target with respect to inputs."""

from __future__ import annotations

from torch import Tensor

from adcaptum.attr.facade.answer import explain
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward, TargetType, Tensors
from adcaptum.engine.methods.gradients.saliency import Saliency


def compute_gradients(
    forward_fn: Forward,
    inputs: Tensors,
    target_ind: TargetType = None,
    additional_forward_args: object = None,
) -> tuple[Tensor, ...]:
    """Returns the gradient of each example's target, for each input, (examples, *features)."""
    call = CaptumCall.of(
        forward_fn, inputs, target=target_ind, additional_forward_args=additional_forward_args
    )
    return explain(call, Saliency(abs=False)).values
