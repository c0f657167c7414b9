"""Projected gradient descent."""

from __future__ import annotations

from math import prod
from typing import Any, cast, get_args

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs, run_flow
from adcaptum.attr.facade.forms import Forward, Tensors
from adcaptum.engine.attacks.projected_gradient import Norm, ProjectedGradient, norms
from adcaptum.robust.fgsm import masks_of
from adcaptum.robust.losses import Loss, loss_call
from adcaptum.robust.perturbation import Perturbation


class PGD(Perturbation):
    """Steps along the sign of the loss's gradient, each projected to a ball about the input.

    Madry, Makelov, Schmidt, Tsipras, Vladu (2018), https://arxiv.org/abs/1706.06083, section 2.1.
    As in Captum the steps follow the sign for either norm.

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
        radius: float,
        step_size: float,
        step_num: int,
        target: Any,
        additional_forward_args: object = None,
        targeted: bool = False,
        random_start: bool = False,
        norm: str = "Linf",
        mask: Tensors | None = None,
    ) -> Tensors:
        """Perturbs inputs.

        Args:
            inputs: A tensor, or a tuple of one per input of the model, (examples, *features) each.
            radius: The radius of the ball about each example's values of an input.
            step_size: The change of an element in a step.
            step_num: The number of steps.
            target: The target of the loss, without a loss function an index, or one per example.
            additional_forward_args: Further arguments of the model.
            targeted: Whether to make the loss small (the target likely) instead of large.
            random_start: Whether to begin at a random point of the ball, uniformly drawn, instead
                of its centre. The draws follow `torch.manual_seed`.
            norm: The ball's norm, Linf or L2.
            mask: The factor of each element's change, 1 or 0, of a shape that broadcasts to the
                input, or one for each input.

        Returns:
            The perturbed inputs, detached, in the container of the inputs.
        """
        if norm not in get_args(Norm):
            raise InvalidInput("norm", repr(norm), "Linf or L2")
        if step_num < 0:
            raise InvalidInput("step_num", step_num, "at least 0")
        call = loss_call(self.forward_func, self.loss_func, inputs, target, additional_forward_args)
        masks = masks_of(mask, call)
        steps = ProjectedGradient(
            step_size=step_size,
            steps=step_num,
            radius=radius,
            norm=cast("Norm", norm),
            descend=targeted,
            lower=self.lower_bound,
            upper=self.upper_bound,
            masks=masks,
        )
        centres = call.explicand.inputs
        starts = None
        if random_start:
            drawn = [_drawn(t, radius, norm) for t in centres]
            if masks is not None:
                drawn = [change * m for change, m in zip(drawn, masks, strict=True)]
            starts = tuple(
                (t + change).to(t.dtype) for t, change in zip(centres, drawn, strict=True)
            )
        return like_inputs(call, run_flow(call, steps.flow(call.explicand, starts)))


def _drawn(like: Tensor, radius: float, norm: str) -> Tensor:
    """Draws a point of the ball about zero for each example, uniformly."""
    if norm == "Linf":
        return torch.rand_like(like) * (2 * radius) - radius
    direction = torch.randn_like(like)
    # The share of a ball's volume within a length grows with its power of the dimension.
    share = torch.rand(len(like)).pow(1 / max(1, prod(like.shape[1:])))
    length = radius * share.to(like.device).view(-1, *(1,) * (like.dim() - 1))
    return direction / norms(direction) * length
