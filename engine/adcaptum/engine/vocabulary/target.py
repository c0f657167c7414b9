"""Targets: the explained numbers of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from adcaptum.engine.vocabulary.site import Site


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One number of the model's output per row.

    Attributes:
        indices: int64 of shape (examples, dims): for each example the index in the output without
            its batch dimension. With no dims (or None) the output has one number per row.
        index: In place of `indices`, the index of every example, in an output of one dimension;
            with small models the operations on indices cost as much as a layer.
    """

    indices: Tensor | None = None
    index: int | None = None

    @property
    def named(self) -> bool:
        """True if there are indices: the output has several numbers per row."""
        return self.indices is not None or self.index is not None


@dataclass(frozen=True, slots=True)
class EveryOutput:
    """Each number of the model's output, explained separately.

    For methods that only evaluate the model: a row gives all outputs at the cost of one. The
    explanations of an example's outputs stand one after another: there are examples * outputs.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One number inside the model per row.

    Attributes:
        site: Its site.
        index: Its index in the site's first tensor, without the batch dimension; with slices, the
            sum of the block. Or a function of the site's tensors, (rows, *features) each, that
            gives one number per row, (rows,), or one number for a batch of any size: that is
            called for each row alone.
    """

    site: Site
    index: tuple[int | slice, ...] | Callable[..., Tensor]

    @property
    def one(self) -> bool:
        """True for a single element; its index may differ between rows of a batch."""
        return not callable(self.index) and all(isinstance(i, int) for i in self.index)


Target = Output | EveryOutput | Neuron
