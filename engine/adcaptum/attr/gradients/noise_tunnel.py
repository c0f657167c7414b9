"""NoiseTunnel: any method's attributions over noisy copies of the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.answer import drawn_seed
from adcaptum.attr.facade.attribution import Attribution, GradientAttribution
from adcaptum.attr.facade.captum_call import input_tensors
from adcaptum.attr.facade.copies import repeated, repeated_rows
from adcaptum.attr.facade.forms import Tensors
from adcaptum.engine.rows.moments import RunningMoments
from adcaptum.engine.rows.noise import Noisy, choose_lines
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.explicand_forms import given_inputs

Kind = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]
Stdevs = float | tuple[float, ...]

# The most noisy copies held at once: they bound the memory, whatever nt_samples is.
_MOST_AT_ONCE = 64
_MOST_ELEMENTS = 1 << 22


class NoiseTunnel(Attribution):
    """Another method's attributions, averaged over copies of the inputs with Gaussian noise.

    SmoothGrad: Smilkov et al. (2017), https://arxiv.org/abs/1706.03825; of squares: Hooker et al.
    (2019), https://arxiv.org/abs/1806.10758; VarGrad, the unbiased variance: Adebayo et al. (2018),
    https://arxiv.org/abs/1810.03292. The method may be any object with `attribute`.

    Attributes:
        attribution_method: The other method.
    """

    def __init__(self, attribution_method: Attribution) -> None:
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method

    @property
    def multiplies_by_inputs(self) -> bool:
        return self.attribution_method.multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        return self.attribution_method.has_convergence_delta()

    def attribute(
        self,
        inputs: Tensors,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Stdevs = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Attributes with the other method, in the container that it gives.

        Args:
            inputs: A tensor, or a tuple of them.
            nt_type: smoothgrad: the mean of the attributions; smoothgrad_sq: of their squares;
                vargrad: their unbiased variance.
            nt_samples: Noisy copies of each example.
            nt_samples_batch_size: The most copies of an example in one call of the other method.
            stdevs: The standard deviation of the noise, or one for each input.
            draw_baseline_from_distrib: Whether each copy gets a random row of the baselines.
            **kwargs: The other method's arguments. Those with a value for each example are
                repeated for its copies.

        Returns:
            The attributions; with return_convergence_delta, where the method has it, also each
            copy's delta, (examples * nt_samples,), an example's copies one after another.
        """
        copies = _Copies.of(inputs, stdevs, kwargs, draw=draw_baseline_from_distrib)
        kind = _checked_kind(nt_type)
        wanted = bool(kwargs.get("return_convergence_delta")) and self.has_convergence_delta()
        moments, deltas = RunningMoments(), []
        structure: TreeSpec | None = None
        for first, size in _chunks(copies, nt_samples, nt_samples_batch_size):
            noisy = copies.inputs(first, size)
            if isinstance(self.attribution_method, GradientAttribution):
                # Methods of the library differentiate copies of their own; a user's may not.
                for t in input_tensors(noisy):
                    t.requires_grad_()
            answer = self.attribution_method.attribute(noisy, **copies.arguments(first, size))
            values, delta = answer if wanted else (answer, None)
            leaves, structure = tree_flatten(values)
            samples = tuple(_per_sample(t.detach(), copies.count, size) for t in widened(leaves))
            moments.add(tuple(t.square() for t in samples) if kind == "smoothgrad_sq" else samples)
            if delta is not None:
                deltas.append(delta.detach().view(copies.count, size))
        found = moments.variance if kind == "vargrad" else moments.mean
        assert structure is not None, "there is at least one sample"
        smoothed = tree_unflatten([t.flatten(0, 1) for t in found], structure)
        return (smoothed, torch.cat(deltas, 1).flatten()) if wanted else smoothed


@dataclass(frozen=True, slots=True, eq=False)
class _Copies:
    """Noisy copies of examples, and the arguments that go with them.

    Attributes:
        tensors: The inputs, floating-point.
        is_tuple: Whether the inputs were given as a tuple.
        stdevs: The standard deviation of each one's noise, (1, ...).
        others: The other method's arguments.
        draw: Whether baselines are a distribution to draw from.
        seed: Where randomness begins.
    """

    tensors: tuple[Tensor, ...]
    is_tuple: bool
    stdevs: tuple[Tensor, ...]
    others: dict[str, Any]
    draw: bool
    seed: int

    @classmethod
    def of(cls, inputs: Tensors, stdevs: Stdevs, others: dict[str, Any], *, draw: bool) -> _Copies:
        with translated():
            given_tensors = given_inputs(input_tensors(inputs))
        tensors = tuple(
            t if t.is_floating_point() else t.to(torch.get_default_dtype()) for t in given_tensors
        )
        given = checked_stdevs(stdevs, len(tensors))
        each = given if isinstance(given, tuple) else (given,) * len(tensors)
        scales = tuple(t.new_full((1,) * t.dim(), s) for t, s in zip(tensors, each, strict=True))
        return cls(tensors, isinstance(inputs, tuple), scales, others, draw, drawn_seed())

    @property
    def count(self) -> int:
        """The number of examples."""
        return len(self.tensors[0])

    def inputs(self, first: int, size: int) -> Tensors:
        """Returns copies first to first + size of each example, grouped by example."""
        noisy = Noisy(self.tensors, self.stdevs, self.seed, first, size)
        tensors = noisy.take(0, len(noisy))
        return tensors if self.is_tuple else tensors[0]

    def arguments(self, first: int, size: int) -> dict[str, Any]:
        """Returns the other method's arguments for those copies."""
        others = dict(self.others)
        for name in {"additional_forward_args", "target"} & others.keys():
            others[name] = repeated(others[name], self.count, size)
        for name in {"feature_mask", "baselines"} & others.keys():
            if self.draw and name == "baselines":
                others[name] = self._drawn(others[name], first, size)
            else:
                others[name] = repeated_rows(others[name], self.tensors, size)
        return others

    def _drawn(self, baselines: Any, first: int, size: int) -> Any:
        """Draws a row of the baselines for each copy, the same row of every input's."""
        if isinstance(baselines, tuple):
            return tuple(self._drawn(part, first, size) for part in baselines)
        if not isinstance(baselines, Tensor):
            return baselines
        choices, _ = choose_lines(self.seed, first, size, len(baselines))
        return baselines[choices.to(baselines.device)].repeat(
            self.count, *(1,) * (baselines.dim() - 1)
        )


def checked_stdevs(stdevs: object, inputs: int) -> Stdevs:
    """Returns the standard deviations of the inputs' noise, checked.

    Raises:
        InvalidInput: If they are neither a float nor a tuple of one per input.
    """
    if isinstance(stdevs, float):
        return stdevs
    if not isinstance(stdevs, tuple):
        raise InvalidInput("stdevs", repr(stdevs), "a float, or a tuple of one per input")
    if len(stdevs) != inputs:
        raise InvalidInput("stdevs", f"{len(stdevs)} of them", f"one per input: {inputs}")
    return tuple(float(s) for s in stdevs)


def _checked_kind(nt_type: str) -> Kind:
    if nt_type not in get_args(Kind):
        raise InvalidInput("nt_type", repr(nt_type), f"one of {', '.join(get_args(Kind))}")
    return cast("Kind", nt_type)


def _chunks(copies: _Copies, samples: int, at_once: int | None) -> Iterator[tuple[int, int]]:
    """Cuts the samples into chunks that are held at once: (first, number)."""
    if samples < 1 or (at_once is not None and at_once < 1):
        raise InvalidInput("nt_samples or nt_samples_batch_size", min(samples, at_once or 1), "> 0")
    elements = sum(t.numel() for t in copies.tensors)
    size = min(_MOST_AT_ONCE, max(1, _MOST_ELEMENTS // max(1, elements)), at_once or samples)
    return iter([(first, min(size, samples - first)) for first in range(0, samples, size)])


def _per_sample(values: Tensor, count: int, size: int) -> Tensor:
    """Reshapes (examples * samples * outputs, ...) to (examples, samples, outputs, ...).

    Raises:
        InvalidInput: If the method does not give something of each example.
    """
    outputs, rest = divmod(len(values), count * size)
    if rest or not outputs:
        raise InvalidInput(
            "attribution_method",
            f"one that gives {len(values)} rows for {count * size} examples",
            "one that gives something of each",
        )
    return values.reshape(count, size, outputs, *values.shape[1:])
