"""GradientShap, at the inputs, at layers and for neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import lcm

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import drawn_seed, explain, like_inputs, like_layer, run_flow
from adcaptum.attr.facade.attribution import LayerAttribution, NeuronAttribution
from adcaptum.attr.facade.baselines import baselines_of, spread_baseline
from adcaptum.attr.facade.captum_call import CaptumCall, input_tensors
from adcaptum.attr.facade.forms import Forward, Selector, TargetType, Tensors
from adcaptum.attr.facade.multiplying import Multiplying, MultiplyingInside
from adcaptum.attr.facade.sites import neuron_of, site_of
from adcaptum.attr.gradients.noise_tunnel import Stdevs, checked_stdevs
from adcaptum.engine.methods.layers.line_samples import LineSamples
from adcaptum.engine.methods.paths import gradient_shap as engine
from adcaptum.engine.rows.moments import RunningMoments
from adcaptum.engine.vocabulary.evaluation import INPUT, Neuron, Site
from adcaptum.engine.vocabulary.flow import Flow

Distribution = Tensors | Callable[..., Tensors]


class GradientShap(Multiplying):
    """GradientShap; Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874.

    A draw takes the same row of every input's baselines. Where
    inputs have different numbers of them, each is repeated to their least common multiple.
    """

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: Distribution,
        n_samples: int = 5,
        stdevs: Stdevs = 0.0,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target to the inputs.

        Args:
            inputs: A tensor, or a tuple of them.
            baselines: A distribution: any number of rows for each input. Or a function of the
                inputs, or of nothing, that gives it.
            n_samples: Random points for each example.
            stdevs: The standard deviation of noise on the inputs, or one for each.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            return_convergence_delta: Whether to return each sample's delta, too: (examples *
                n_samples,), an example's samples one after another.
        """
        call = _call(self.forward_func, inputs, baselines, target, additional_forward_args, INPUT)
        values, deltas = _sampled(
            call,
            n_samples,
            stdevs,
            multiply=self._multiply_by_inputs,
            deltas=return_convergence_delta,
        )
        found = like_inputs(call, values)
        return (found, deltas) if return_convergence_delta else found


class LayerGradientShap(MultiplyingInside, LayerAttribution):
    """GradientShap at a layer, on lines through the inputs."""

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: Distribution,
        n_samples: int = 5,
        stdevs: Stdevs = 0.0,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target to the layer; the arguments are those of GradientShap."""
        at = site_of(self.module, of_input=attribute_to_layer_input)
        call = _call(self.forward_func, inputs, baselines, target, additional_forward_args, at)
        values, deltas = _sampled(
            call,
            n_samples,
            stdevs,
            multiply=self._multiply_by_inputs,
            deltas=return_convergence_delta,
        )
        found = like_layer(values)
        return (found, deltas) if return_convergence_delta else found


class NeuronGradientShap(MultiplyingInside, NeuronAttribution):
    """GradientShap of a neuron."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: Distribution,
        n_samples: int = 5,
        stdevs: Stdevs = 0.0,
        additional_forward_args: object = None,
        attribute_to_neuron_input: bool = False,
    ) -> Tensors:
        """Attributes a neuron to the inputs; the other arguments are those of GradientShap."""
        neuron = neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input)
        call = _call(self.forward_func, inputs, baselines, neuron, additional_forward_args, INPUT)
        values, _ = _sampled(
            call, n_samples, stdevs, multiply=self._multiply_by_inputs, deltas=False
        )
        return like_inputs(call, values)


def _call(
    forward_func: Forward,
    inputs: Tensors,
    baselines: Distribution,
    target: TargetType | Neuron,
    additional_forward_args: object,
    at: Site,
) -> CaptumCall:
    tensors = input_tensors(inputs)
    given = baselines_of(baselines, inputs)
    each = given if isinstance(given, tuple) else (given,)
    if len(each) != len(tensors):
        raise InvalidInput("baselines", f"{len(each)} of them", "a distribution for each input")
    if not isinstance(each[0], Tensor):
        raise InvalidInput(
            "baselines", f"of type {type(each[0])}", "a distribution: a tensor of rows"
        )
    spread = tuple(
        spread_baseline(f"baselines[{i}]", 0 if b is None else b, t)
        for i, (b, t) in enumerate(zip(each, tensors, strict=True))
    )
    rows = lcm(*(len(b) for b in spread if isinstance(b, Tensor)))
    return CaptumCall.of(
        forward_func,
        inputs,
        target=target,
        baselines=tuple(_rows(b, t, rows) for b, t in zip(spread, tensors, strict=True)),
        additional_forward_args=additional_forward_args,
        at=at,
        distribution=True,
    )


def _rows(baseline: Tensor | float, like: Tensor, rows: int) -> Tensor:
    """Returns a distribution with that many rows; a number is a constant one."""
    if not isinstance(baseline, Tensor):
        baseline = torch.full_like(like[:1], baseline)
    if len(baseline) == rows:
        return baseline
    return baseline.repeat(rows // len(baseline), *(1,) * (baseline.dim() - 1))


def _sampled(
    call: CaptumCall, n_samples: int, stdevs: Stdevs, *, multiply: bool, deltas: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Returns the mean over the samples, and each sample's delta, (examples * samples,)."""
    stdev = checked_stdevs(stdevs, len(call.explicand.inputs))
    if n_samples < 1:
        raise InvalidInput("n_samples", n_samples, "at least 1")
    if call.explicand.at == INPUT and not deltas and isinstance(stdev, float):
        # The mean alone needs no memory of the samples.
        method = engine.GradientShap(n_samples, stdev, multiply)
        return explain(call, method).values, torch.empty(0)
    explicand = replace(call.explicand, seed=drawn_seed())
    samples = LineSamples(explicand, stdev, multiply, deltas)
    return run_flow(call, _mean(samples, n_samples))


def _mean(samples: LineSamples, n_samples: int) -> Flow[tuple[tuple[Tensor, ...], Tensor]]:
    moments = RunningMoments()
    deltas = []
    for first, size in samples.chunks(n_samples):
        taken = yield from samples.take(first, size)
        moments.add(taken.values)
        deltas.append(taken.deltas)
    joined = torch.cat(deltas, 1).flatten() if samples.deltas else torch.empty(0)
    return moments.mean, joined
