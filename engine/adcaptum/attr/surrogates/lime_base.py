"""The base of Lime, for a caller's own surrogates, samples and similarities."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from inspect import isgeneratorfunction
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.attribution import PerturbationAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import check_per_eval, check_samples, title
from adcaptum.attr.surrogates.interpretable import Samples, sampled_outputs
from adcaptum.attr.surrogates.linear_models import Model

Perturb = Callable[..., Any]
Similarity = Callable[..., float | Tensor]


class LimeBase(PerturbationAttribution):
    """Fits an interpretable model to the outputs at perturbed inputs, weighted by similarity.

    Ribeiro, Singh, Guestrin (2016), https://arxiv.org/abs/1602.04938. A batch of inputs is
    explained as one: the forward gives one number for each perturbation of it.

    Attributes:
        interpretable_model: The fitted model.
        similarity_func: Weighs a sample: takes the inputs, the perturbed inputs, the interpretable
            sample and the keyword arguments of `attribute`, and gives a number.
        perturb_func: Makes a sample of the inputs, or is a generator of samples.
        perturb_interpretable_space: True: samples are interpretable; False: perturbed inputs.
        from_interp_rep_transform: Turns an interpretable sample into perturbed inputs.
        to_interp_rep_transform: Turns perturbed inputs into an interpretable sample.
    """

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Model,
        similarity_func: Similarity,
        perturb_func: Perturb,
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Tensors] | None,
        to_interp_rep_transform: Callable[..., Tensor] | None,
    ) -> None:
        super().__init__(forward_func)
        if perturb_interpretable_space and from_interp_rep_transform is None:
            raise InvalidInput(
                "from_interp_rep_transform", None, "a function: samples are interpretable"
            )
        if not perturb_interpretable_space and to_interp_rep_transform is None:
            raise InvalidInput(
                "to_interp_rep_transform", None, "a function: samples are perturbed inputs"
            )
        self.interpretable_model = interpretable_model
        self.similarity_func = similarity_func
        self.perturb_func = perturb_func
        self.perturb_interpretable_space = perturb_interpretable_space
        self.from_interp_rep_transform = from_interp_rep_transform
        self.to_interp_rep_transform = to_interp_rep_transform

    @property
    def multiplies_by_inputs(self) -> bool:
        return False

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_samples: int = 50,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Returns the fitted model's representation; keyword arguments go to all functions."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            every_output=True,
        )
        return self._fitted(call, n_samples, perturbations_per_eval, show_progress, kwargs)

    def _fitted(
        self,
        call: CaptumCall,
        n_samples: int,
        per_eval: int,
        show_progress: bool,
        kwargs: dict[str, Any],
    ) -> Tensor:
        check_samples(n_samples)
        check_per_eval(per_eval)
        inputs = like_inputs(call, call.explicand.inputs)
        source, wanted = self._source(inputs, n_samples, kwargs)
        drawn = islice(self._drawn(source, inputs, kwargs), wanted)
        device = call.explicand.inputs[0].device
        samples = Samples.empty()
        with tqdm(total=wanted, desc=title(self, show_progress), disable=not show_progress) as bar:
            while part := Samples.of(islice(drawn, Samples.at_once(call, per_eval))):
                samples.add(part, sampled_outputs(call, part.inputs, per_eval))
                bar.update(len(part.weights))
            bar.total = bar.n
        if 0 < len(samples.weights) < wanted:
            warnings.warn(
                f"the generator of samples ended after {len(samples.weights)} of {wanted}",
                stacklevel=3,
            )
        if not samples.weights:
            raise InvalidInput("perturb_func", "a generator", "one that gives samples: no sample")
        data = TensorDataset(*samples.data(device))
        self.interpretable_model.fit(DataLoader(data, batch_size=len(data)))
        return self.interpretable_model.representation()

    def _source(
        self, inputs: Tensors, n_samples: int, kwargs: dict[str, Any]
    ) -> tuple[Iterator[Any], int]:
        """Returns an endless iterator of `perturb_func`'s samples, and the number to take."""
        if isgeneratorfunction(self.perturb_func):
            return self.perturb_func(inputs, **kwargs), n_samples
        return iter(lambda: self.perturb_func(inputs, **kwargs), None), n_samples

    def _drawn(
        self, source: Iterator[Any], inputs: Tensors, kwargs: dict[str, Any]
    ) -> Iterator[tuple[Tensor, Tensors, float | Tensor]]:
        """Makes samples: the interpretable one, the perturbed inputs, and their weight."""
        for sample in source:
            interpretable, changed = self._both(sample, inputs, kwargs)
            weight = self.similarity_func(inputs, changed, interpretable, **kwargs)
            yield interpretable, changed, weight

    def _both(self, sample: Any, inputs: Tensors, kwargs: dict[str, Any]) -> tuple[Tensor, Tensors]:
        if self.perturb_interpretable_space:
            assert self.from_interp_rep_transform is not None, "checked when it was given"
            return sample, self.from_interp_rep_transform(sample, inputs, **kwargs)
        assert self.to_interp_rep_transform is not None, "checked when it was given"
        return self.to_interp_rep_transform(sample, inputs, **kwargs), sample
