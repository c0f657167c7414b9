"""The fast gradient sign method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs, run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward, Tensors
from adcaptum.engine.attacks.projected_gradient import ProjectedGradient
from adcaptum.robust.losses import Loss, loss_call
from adcaptum.robust.perturbation import Perturbation


class FGSM(Perturbation):
    """A step along the sign of the loss's gradient, x + epsilon sign(grad).

    Goodfellow, Shlens, Szegedy (2015), https://arxiv.org/abs/1412.6572, section 4. Elements whose
    gradient is at most 1e-6 stay, as in Captum. Each example's loss is its own, also where the loss
    function averages over the batch.

    Args:
        forward_func: The model.
        loss_func: A function of the model's outputs and the target; None: the negative logarithm
            of the target's output, which has to be a probability.
        lower_bound: The least value of an element of the result.
        upper_bound: The largest.
    """

    def __init__(
        self,
        forward_func: Forward,
        loss_func: Loss | None = None,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        super().__init__()
        self.forward_func = forward_func
        self.loss_func = loss_func
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def perturb(
        self,
        inputs: Tensors,
        epsilon: float,
        target: Any,
        additional_forward_args: object = None,
        targeted: bool = False,
        mask: Tensors | None = None,
    ) -> Tensors:
        """Perturbs inputs.

        Args:
            inputs: A tensor, or a tuple of one per input of the model, (examples, *features) each.
            epsilon: The change of an element.
            target: The target of the loss, without a loss function an index, or one per example.
            additional_forward_args: Further arguments of the model.
            targeted: Whether to make the loss small (the target likely) instead of large.
            mask: The factor of each element's change, 1 or 0, of a shape that broadcasts to the
                input, or one for each input.

        Returns:
            The perturbed inputs, detached, in the container of the inputs.
        """
        call = loss_call(self.forward_func, self.loss_func, inputs, target, additional_forward_args)
        step = ProjectedGradient(
            step_size=epsilon,
            descend=targeted,
            lower=self.lower_bound,
            upper=self.upper_bound,
            masks=masks_of(mask, call),
        )
        return like_inputs(call, run_flow(call, step.flow(call.explicand)))


def masks_of(mask: Tensors | None, call: CaptumCall) -> tuple[Tensor, ...] | None:
    """Returns the masks of changes as a tuple of one per input.

    Raises:
        InvalidInput: If there is not one for each input, or one does not broadcast to it.
    """
    if mask is None:
        return None
    inputs = call.explicand.inputs
    masks = mask if isinstance(mask, tuple) else (mask,)
    if len(masks) != len(inputs):
        raise InvalidInput("mask", f"{len(masks)} of them", f"one for each input: {len(inputs)}")
    masks = tuple(torch.as_tensor(m, device=t.device) for m, t in zip(masks, inputs, strict=True))
    for i, (each, t) in enumerate(zip(masks, inputs, strict=True)):
        try:
            fits = torch.broadcast_shapes(each.shape, t.shape) == t.shape
        except RuntimeError:
            fits = False
        if not fits:
            found, allowed = tuple(each.shape), f"one that broadcasts to {tuple(t.shape)}"
            raise InvalidInput(f"mask[{i}]", f"of shape {found}", allowed)
    return masks
