"""Evaluations and readings.

A `Site` is a place in the model. A target, `Output` or `Neuron`, is the explained number of each
row. An `Evaluation` is a set of rows at which the model is evaluated, with the requested
values and gradients; a `Reading` is its result. Evaluations with equal keys may share a batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Final, Self

from torch import Tensor

from adcaptum.engine.rows.reduce import Reduce, Stack
from adcaptum.engine.rows.sources import Rows, Signature
from adcaptum.engine.rules.interception import Rule
from adcaptum.engine.vocabulary.arguments import NO_ARGUMENTS, Arguments
from adcaptum.engine.vocabulary.references import References
from adcaptum.engine.vocabulary.site import INPUT, Layer, Site
from adcaptum.engine.vocabulary.target import EveryOutput, Neuron, Output, Target

# Exports sites and targets too, which are parts of evaluations.
__all__ = [
    "FORWARD_BYTES", "FORWARD_ROWS", "INPUT", "Evaluation", "EveryOutput", "Key", "Layer", "Neuron",
    "Output", "Patch", "Reading", "Site", "Target",
]  # fmt: skip

FORWARD_ROWS: Final = 32
"""The most rows of a forward in deterministic runs, which give the same bits each time."""

FORWARD_BYTES: Final = 1 << 16
"""The most bytes of the rows of such a forward, if they are more than one."""


STACK: Final = Stack()
"""The reduction that keeps every row."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The replacement of the values at a site, row for row.

    Attributes:
        site: The site.
        rows: The replacement, as many rows as the evaluation has.
    """

    site: Site
    rows: Rows


def signature_bytes(signature: Signature) -> int:
    """The bytes of a row of a signature."""
    return sum(prod(shape) * dtype.itemsize for shape, dtype, _ in signature)


class Key(tuple[Hashable, ...]):  # noqa: SLOT001 - a tuple cannot have a slot
    """The key of a batch: rows of evaluations with equal keys may share one.

    Its hash is kept, because several look-ups a batch need it. The first part is "forward" or
    "gradient", the kind of the rows.

    Attributes:
        fed: The signatures of the rows, and of the rows that replace values inside the model.
    """

    fed: tuple[Signature, ...]
    _hash: int

    def __new__(cls, parts: Iterable[Hashable], fed: tuple[Signature, ...]) -> Self:
        made = super().__new__(cls, parts)
        made.fed = fed
        made._hash = tuple.__hash__(made)
        return made

    @property
    def row_bytes(self) -> int:
        """The bytes of a row itself, without the model's activations."""
        return sum(map(signature_bytes, self.fed))

    __eq__ = tuple.__eq__

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Rows at which the model is evaluated, with the requested values and gradients.

    Attributes:
        rows: The rows.
        target: The number per row to read and, with `wrt`, to differentiate; None: the raw outputs.
        wrt: The site of the gradients; None: the model runs without gradients.
        read: A site whose values to return, row for row; None: none.
        patch: A site's replacement; None: none.
        arguments: Further arguments of forward, after the rows' own.
        reduce: The reduction of the rows' gradients.
        through: Neurons inside the model; only the gradient that flows through them counts. None:
            all of it.
        outputs: Whether the outputs are requested. Without them the model runs only as far as the
            sites to read, and the reading's values are empty.
        rule: The rule that differentiates operations; None: the chain rule.
        references: The reference rows, for rules that compare rows.
        forward_rows: The rows of each forward, counted from the evaluation's first, without rows of
            other evaluations: then the bits of the answer depend on nothing else. None: as many as
            a batch has.
    """

    rows: Rows
    target: Output | Neuron | None = None
    wrt: Site | None = None
    read: Site | None = None
    patch: Patch | None = None
    arguments: Arguments = NO_ARGUMENTS
    reduce: Reduce = STACK
    through: Neuron | None = None
    outputs: bool = True
    rule: Rule | None = None
    references: References | None = None
    forward_rows: int | None = None

    @cached_property
    def key(self) -> Key:
        """The batch key."""
        rows = self.rows.signature
        patched = None if self.patch is None else self.patch.rows.signature
        patch = self.patch and (self.patch.site, patched)
        # Forward rows read all outputs: the explained number is chosen from them later.
        neuron: Hashable = None
        if isinstance(self.target, Neuron):
            own = None if self.target.one else _identity(self.target)
            neuron = (self.target.site, own)
        through = self.through and (self.through.site, _identity(self.through))
        return Key(
            (
                "forward" if self.wrt is None else "gradient",
                rows,
                self.arguments.signature,
                neuron,
                self.wrt,
                self.read,
                patch,
                through,
                self.outputs,
                self.rule,
                self.references and self.references.signature,
                self.forward_rows,
            ),
            (rows,) if patched is None else (rows, patched),
        )

    @property
    def at_ends(self) -> bool:
        """True if only inputs and outputs matter: no layer is read, replaced or differentiated."""
        inside = (self.read, self.patch, self.through, self.rule)
        return (
            (self.wrt is None or self.wrt == INPUT)
            and not isinstance(self.target, Neuron)
            and all(each is None for each in inside)
        )

    def apart(self, most: int) -> Evaluation:
        """Returns the same rows in forwards of their own, of sizes that depend on the rows alone.

        Args:
            most: The most rows of a forward. Large rows come in smaller forwards: they are not
                slower, and others wait for less time.
        """
        rows = max(1, min(most, FORWARD_BYTES // max(1, self.key.row_bytes)))
        return replace(self, forward_rows=1 << (rows.bit_length() - 1))

    @property
    def reference_rows(self) -> int:
        """The number of reference rows beside the rows."""
        if self.references is None:
            return 0
        return self.references.distinct(self.arguments, self.rows)


def _identity(neuron: Neuron) -> Hashable:
    """Returns a key of a neuron's index: equal for equal indices, and for the same function."""
    if callable(neuron.index):
        return id(neuron.index)
    return tuple([(i.start, i.stop, i.step) if isinstance(i, slice) else i for i in neuron.index])


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The result of an evaluation.

    Attributes:
        values: The target of each row, shape (rows,); without a target the raw outputs, (rows,
            *output).
        gradients: With `wrt`, the gradients folded by the evaluation's reduction, a tensor per
            tensor at the site; else empty.
        activations: With `read`, the site's values, each (rows, *features); else empty.
        reference_values: With `references`, the target of each row's reference, (rows,).
        uncovered_ops: With a `rule`, the operations that it does not cover, by name.
    """

    values: Tensor
    gradients: tuple[Tensor, ...] = ()
    activations: tuple[Tensor, ...] = ()
    reference_values: Tensor | None = None
    uncovered_ops: tuple[str, ...] = ()
