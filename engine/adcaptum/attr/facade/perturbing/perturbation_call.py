"""Calls of the perturbation methods, whose inputs may have first dimensions of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor
from torch.futures import Future

from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import check_per_eval
from adcaptum.attr.facade.perturbing.perturbation import Perturbed, perturbed, perturbed_later
from adcaptum.attr.facade.perturbing.unaligned import Unaligned
from adcaptum.engine.execution.forwards.futures import following
from adcaptum.engine.vocabulary.method import Method


@dataclass(frozen=True, slots=True, eq=False)
class PerturbationCall:
    """A call of a perturbation method at the inputs.

    Attributes:
        call: The call; all its inputs have a row for each example.
        unaligned: The inputs as they were given, if their first dimensions differ.
    """

    call: CaptumCall
    unaligned: Unaligned | None

    @classmethod
    def of(
        cls,
        forward_func: Forward,
        inputs: Tensors,
        *,
        target: TargetType,
        additional_forward_args: object,
        baselines: BaselineType = None,
        feature_mask: Tensors | None = None,
    ) -> Self:
        """Converts arguments from Captum's forms; see `CaptumCall.of`.

        Raises:
            InvalidInput: If one of them has a form that is not allowed.
        """
        unaligned = Unaligned.of(forward_func, inputs, baselines, feature_mask)
        if unaligned is not None:
            forward_func, inputs = unaligned.forward, unaligned.inputs
            baselines, feature_mask = unaligned.baselines, unaligned.feature_mask
        call = CaptumCall.of(
            forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
            every_output=True,
        )
        return cls(call, unaligned)

    def attributions(
        self,
        method: Method,
        *,
        per_eval: int,
        progress: str | None,
        in_order: bool = False,
        in_shape: bool = False,
    ) -> Tensors:
        """Explains, in the container and the form of the inputs.

        Args:
            method: The method.
            per_eval: Captum's perturbations_per_eval.
            progress: The name of the progress bar; None: no bar.
            in_order: Whether the method can make its rows only sample by sample, each once.
            in_shape: Whether results are (*output, *features); False: (outputs, *features).
        """
        found = perturbed(
            self.call,
            method,
            per_eval=self._per_eval(per_eval),
            progress=progress,
            in_order=in_order or self.unaligned is not None,
        )
        return self._like_inputs(found, in_shape=in_shape)

    def attributions_later(
        self, method: Method, *, per_eval: int, progress: str | None, in_shape: bool = False
    ) -> Future[Tensors]:
        """Explains a forward that gives futures; see `attributions`."""
        answer = perturbed_later(
            self.call,
            method,
            per_eval=self._per_eval(per_eval),
            progress=progress,
        )
        return following(answer, lambda found: self._like_inputs(found, in_shape=in_shape))

    def _per_eval(self, wanted: int) -> int:
        """Returns perturbations a batch: one if its rows share inputs of other lengths."""
        check_per_eval(wanted)
        return wanted if self.unaligned is None else 1

    def _like_inputs(self, found: Perturbed, *, in_shape: bool) -> Tensors:
        values = found.values if self.unaligned is None else self.unaligned.restored(found.values)
        if in_shape:
            values = tuple(_in_shape(v, found.shape) for v in values)
        return like_inputs(self.call, values)


def _in_shape(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    return values.view(*shape, *values.shape[1:])
