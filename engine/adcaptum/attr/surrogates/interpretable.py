"""Samples of Lime: interpretable, as inputs, with their weights and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Tensors
from adcaptum.attr.facade.perturbing.perturbation import perturbed
from adcaptum.engine.games.game import by_game
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, gather
from adcaptum.engine.vocabulary.method import Traits

_SAMPLES_AT_ONCE = 64
_NUMBERS_AT_ONCE = 1 << 24


@dataclass(slots=True, eq=False)
class Samples:
    """Samples of Lime.

    Attributes:
        interpretable: Each (1, features).
        inputs: Each a tensor per input of the model, (examples, *features).
        weights: Each a number.
        outputs: The model's outputs, in parts.
    """

    interpretable: list[Tensor]
    inputs: list[tuple[Tensor, ...]]
    weights: list[Tensor]
    outputs: list[Tensor]

    @classmethod
    def empty(cls) -> Self:
        """Returns an empty collection."""
        return cls([], [], [], [])

    @classmethod
    def of(cls, drawn: Iterable[tuple[Tensor, Tensors, float | Tensor]]) -> Self | None:
        """Collects samples; returns None if there are none."""
        samples = cls.empty()
        for interpretable, changed, weight in drawn:
            samples.interpretable.append(interpretable)
            samples.inputs.append((changed,) if isinstance(changed, Tensor) else changed)
            samples.weights.append(torch.as_tensor(weight).detach().reshape(1))
        return samples if samples.weights else None

    @staticmethod
    def at_once(call: CaptumCall, per_eval: int) -> int:
        """Returns the number of samples to hold with their inputs."""
        size = sum(t.numel() for t in call.explicand.inputs)
        some = max(1, min(_SAMPLES_AT_ONCE, _NUMBERS_AT_ONCE // max(size, 1)))
        return -(-some // per_eval) * per_eval

    def add(self, others: Samples, outputs: Tensor) -> None:
        """Adds samples with their outputs, without their inputs."""
        self.interpretable += others.interpretable
        self.weights += others.weights
        self.outputs.append(outputs)

    def data(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the surrogate's data: samples, outputs and weights, float32."""
        parts = (self.interpretable, self.outputs, self.weights)
        interpretable, outputs, weights = (
            torch.cat([t.to(device) for t in part]).float() for part in parts
        )
        return interpretable, outputs, weights


def sampled_outputs(call: CaptumCall, samples: list[tuple[Tensor, ...]], per_eval: int) -> Tensor:
    """Evaluates the model at samples of the inputs, (samples,).

    Samples may have other features than the inputs, such as texts without some of their words:
    those of one shape are evaluated together.

    Raises:
        InvalidInput: If a sample has other examples than the inputs, or the model does not give
            one number for each.
    """
    groups: dict[tuple[torch.Size, ...], list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(tuple(t.shape for t in sample), []).append(place)
    for shapes in groups:
        for i, (shape, t) in enumerate(zip(shapes, call.explicand.inputs, strict=True)):
            if shape[:1] != t.shape[:1]:
                raise InvalidInput(
                    f"perturbed input {i}", f"of shape {tuple(shape)}", f"of {len(t)} examples"
                )
    tensors = tuple(
        tuple(torch.stack(parts, 1) for parts in zip(*(samples[p] for p in places), strict=True))
        for places in groups.values()
    )
    answer = perturbed(call, _Outputs(tensors), per_eval=per_eval)
    (outputs,) = answer.values
    if len(outputs) != 1:
        raise InvalidInput(
            "forward_func",
            f"a function that gave {len(outputs)} numbers for a sample",
            "one number for each perturbation of the inputs",
        )
    order = torch.tensor([place for places in groups.values() for place in places])
    return outputs[0][order.argsort().to(outputs.device)]


def example(
    call: CaptumCall, masks: tuple[Tensor, ...], i: int
) -> tuple[CaptumCall, tuple[Tensor, ...]]:
    """Returns the call of one example, and its masks."""
    own = tuple(m[i : i + 1] if _own(m, t) else m for m, t in _with_inputs(call, masks))
    return replace(call, explicand=call.explicand.example(i)), own


def spread(coefficients: Tensor, masks: tuple[Tensor, ...], call: CaptumCall) -> tuple[Tensor, ...]:
    """Gives each element its feature's coefficient, (surrogates, *features) for each input."""
    rows = len(coefficients)
    made = []
    for mask, t in _with_inputs(call, masks):
        ids = mask.expand(rows if _own(mask, t) else 1, *t.shape[1:]).expand(rows, *t.shape[1:])
        own = coefficients.to(t.device).gather(1, ids.reshape(rows, -1))
        made.append(own.view(rows, *t.shape[1:]))
    return tuple(made)


def coefficients_of(values: tuple[Tensor, ...], masks: tuple[Tensor, ...], features: int) -> Tensor:
    """Gathers elements' values as (surrogates, features); zero for features without elements."""
    rows = len(values[0])
    found = values[0].new_zeros(rows, features)
    for v, mask in zip(values, masks, strict=True):
        ids = mask.to(found.device).expand(rows, *v.shape[1:]).reshape(rows, -1)
        found.scatter_(1, ids, v.to(found).reshape(rows, -1))
    return found


def _with_inputs(call: CaptumCall, masks: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(masks, call.explicand.inputs, strict=True))


def _own(mask: Tensor, t: Tensor) -> bool:
    return mask.dim() == t.dim() and len(mask) > 1


@dataclass(frozen=True, eq=False)
class _Sampled(Rows):
    """Perturbed inputs that are given.

    Attributes:
        tensors: Each (examples, samples, *features).
    """

    tensors: tuple[Tensor, ...]

    @property
    def like(self) -> tuple[Tensor, ...]:
        return tuple(t[:, 0] for t in self.tensors)

    @property
    def per_example(self) -> int:
        return self.tensors[0].shape[1]

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(t.detach()[e0:e1, s0:s1].clone() for t in self.tensors)


@dataclass(frozen=True, slots=True, eq=False)
class _Outputs:
    """A method whose attributions are the outputs at samples, (examples, samples).

    Attributes:
        groups: Samples of one shape, each tensor (examples, samples, *features).
    """

    traits: ClassVar[Traits] = Traits(name="outputs", paper="", layer="never")

    groups: tuple[tuple[Tensor, ...], ...]

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        readings = yield from gather(
            [ask(explicand.evaluation(_Sampled(tensors))) for tensors in self.groups]
        )
        values = [by_game(reading.values, explicand.count) for reading in readings]
        return Attribution((torch.cat(values, 1),))

    def rows(self, explicand: Explicand) -> int:
        return explicand.count * sum(tensors[0].shape[1] for tensors in self.groups)
