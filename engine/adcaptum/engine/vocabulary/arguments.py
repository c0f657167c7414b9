"""Further arguments of a model's forward, beside the explained inputs.

Captum repeats every tensor among them, and fails or is wrong where a tensor does not have one value
per example. Here the caller declares which tensors have.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.distinct import distinct
from adcaptum.engine.rows.fingerprints import Fingerprint, fingerprints


@dataclass(frozen=True, slots=True, eq=False)
class PerExample:
    """An argument with one value per example.

    Attributes:
        tensor: Shape (examples, *features).
    """

    tensor: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """An argument that is the same for every row, of any type.

    Rows share a batch only if it is the same object (or an equal number, string, bool or None).
    """

    value: object


Argument = PerExample | Shared


@dataclass(frozen=True, eq=False)
class Arguments:
    """The further arguments of one evaluation, in the order of forward.

    Attributes:
        values: The arguments.
    """

    values: tuple[Argument, ...] = ()

    @cached_property
    def signature(self) -> Hashable:
        """The part of a batch key: evaluations that share a batch have equal ones."""
        return tuple(_signature(value) for value in self.values)

    @cached_property
    def alike(self) -> Tensor | None:
        """The first example with equal values, for each example, int64; None if all are distinct.

        None too on other devices than the CPU, where values are not compared.
        """
        tensors = [a.tensor.detach() for a in self.values if isinstance(a, PerExample)]
        if not tensors or not all(map(_comparable, tensors)):
            return None
        found = distinct(tensors)
        if found is None:
            return None
        examples = len(found.numbers)
        first = torch.full((len(found.rows[0]),), examples)
        first.scatter_reduce_(0, found.numbers, torch.arange(examples), "amin")
        return first[found.numbers]

    @cached_property
    def prints(self) -> tuple[Fingerprint, ...]:
        """The fingerprint of each example's values, of which there must be some."""
        return fingerprints([a.tensor for a in self.values if isinstance(a, PerExample)])

    @property
    def lasting(self) -> bool:
        """True if shared values that are equal stay equal: they cannot be changed in place."""
        return all(isinstance(a, PerExample) or _constant(a.value) for a in self.values)

    def check(self, examples: int) -> None:
        """Raises InvalidArgument unless each per-example argument has that many examples."""
        for i, value in enumerate(self.values):
            if isinstance(value, PerExample) and value.tensor.shape[:1] != (examples,):
                raise InvalidArgument(
                    f"additional_forward_args[{i}]",
                    f"a tensor of shape {tuple(value.tensor.shape)}",
                    f"its first dimension must be the {examples} examples, or declare it Shared",
                )


NO_ARGUMENTS = Arguments()


def _signature(argument: Argument) -> Hashable:
    if isinstance(argument, PerExample):
        return (tuple(argument.tensor.shape[1:]), argument.tensor.dtype, argument.tensor.device)
    value = argument.value
    return (type(value), value) if _constant(value) else id(value)


def _constant(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _comparable(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not tensor.is_complex() and tensor.numel() > 0
