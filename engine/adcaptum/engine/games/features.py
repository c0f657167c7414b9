"""Features: groups of elements that are explained, and switched on and off, together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The assignment of the elements of some tensors to features.

    Attributes:
        count: The number of features.
        shapes: The shape of each tensor without its examples.
        ids: For each tensor the feature of its elements, from 0, int64, of shape (1, *features) or
            one that broadcasts to it, or of as many rows as there are examples where each has
            groups of its own; empty where each element is a feature of its own, numbered in the
            tensors' order.
    """

    count: int
    shapes: tuple[tuple[int, ...], ...]
    ids: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, explicand: Explicand, tensors: Sequence[Tensor]) -> Self:
        """Groups the elements of the inputs, or of a site's tensors, by the feature mask.

        The mask's numbers may be any; those that occur become 0, 1, ... in ascending order. At a
        site, a mask with fewer dimensions than the site's tensor, the first of them for the
        examples, aligns with the leading ones, or if that does not fit with the last: a mask of
        tokens (1, tokens) groups embeddings (1, tokens, width), one of pixels (1, height, width)
        activations (1, channels, height, width).

        Raises:
            InvalidArgument: If a mask does not fit its tensor, or there is nothing to explain.
        """
        check_elements(explicand, tensors)
        shapes = tuple(tuple(t.shape[1:]) for t in tensors)
        if explicand.feature_mask is None:
            return cls(sum(map(prod, shapes)), shapes)
        masks = explicand.feature_mask
        if len(masks) != len(shapes):
            raise InvalidArgument(
                "feature_mask", f"{len(masks)} of them", f"one per tensor: {len(shapes)}"
            )
        inside = explicand.at != INPUT
        fitted = [
            _fitted(i, mask.to(t.device), (len(t), *shape), leading=inside)
            for i, (mask, shape, t) in enumerate(zip(masks, shapes, tensors, strict=True))
        ]
        device = fitted[0].device
        flat = torch.cat([m.flatten().to(device) for m in fitted])
        present, dense = torch.unique(flat, return_inverse=True)
        parts = dense.split([m.numel() for m in fitted])
        ids = tuple(p.view(m.shape).to(m.device) for p, m in zip(parts, fitted, strict=True))
        return cls(len(present), shapes, ids)

    @property
    def own(self) -> bool:
        """True if examples have groups of their own."""
        return any(len(ids) > 1 for ids in self.ids)

    def select(
        self, coalitions: Tensor, start: int = 0, stop: int | None = None
    ) -> tuple[Tensor, ...]:
        """Spreads coalitions over the elements.

        Args:
            coalitions: bool of shape (coalitions, count).
            start: The first example.
            stop: The first example after the last; None: all.

        Returns:
            For each tensor a bool tensor that broadcasts to (examples, coalitions, *features).
        """
        if not self.ids:
            # The elements are the features.
            return self._parted(coalitions)
        return tuple(_selected(coalitions, ids, start, stop) for ids in self.ids)

    def totals(self, tensors: Sequence[Tensor]) -> Tensor:
        """Sums each example's numbers over the elements of each feature, (examples, count).

        Args:
            tensors: Each (examples, *features), all of one dtype; the sum is on the first's device.
        """
        examples, device = len(tensors[0]), tensors[0].device
        flat = [t.to(device).reshape(examples, -1) for t in tensors]
        if not self.ids:
            return torch.cat(flat, 1)
        sums = flat[0].new_zeros(examples, self.count)
        for t, ids, numbers in zip(tensors, self.ids, flat, strict=True):
            places = ids.to(device).expand(t.shape).reshape(examples, -1)
            sums.scatter_add_(1, places, numbers)
        return sums

    def spread(
        self, values: Tensor, like: Sequence[Tensor], dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        """Gives each element its feature's value.

        Args:
            values: Of shape (examples, count), or of several rows for each example.
            like: The tensors whose elements these are; the results are on their devices and, where
                they are floating-point, in their dtype but at least float32.
            dtype: The dtype used for tensors that are not floating-point.
        """
        wanted = [accumulator_dtype(t.dtype if t.is_floating_point() else dtype) for t in like]
        rows = values.shape[0]
        if not self.ids:
            parts = self._parted(values)
            return tuple(
                part.to(d).to(t.device).contiguous()
                for part, t, d in zip(parts, like, wanted, strict=True)
            )
        made = []
        for ids, t, d, shape in zip(self.ids, like, wanted, self.shapes, strict=True):
            own = values.to(d).to(t.device)
            if len(ids) > 1:
                places = ids.repeat_interleave(rows // len(ids), 0).flatten(1)
                each = own.gather(1, places)
            else:
                each = own.index_select(1, ids.flatten())
            made.append(each.view(rows, *ids.shape[1:]).expand(rows, *shape).contiguous())
        return tuple(made)

    def _parted(self, numbers: Tensor) -> tuple[Tensor, ...]:
        """Reshapes numbers of each feature to the tensors, whose elements are the features."""
        if len(self.shapes) == 1:
            parts: tuple[Tensor, ...] = (numbers,)
        else:
            parts = numbers.split([prod(shape) for shape in self.shapes], 1)
        return tuple(
            part if len(shape) == 1 else part.reshape(len(numbers), *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        )


def check_elements(explicand: Explicand, tensors: Sequence[Tensor], i: int | None = None) -> None:
    """Refuses tensors without elements.

    Args:
        explicand: The explicand.
        tensors: The inputs, or a site's tensors, each (examples, *features).
        i: The tensor that must have elements; None: any of them.

    Raises:
        InvalidArgument: If they have no element.
    """
    shapes = [tuple(t.shape) for t in (tensors if i is None else tensors[i : i + 1])]
    if not any(prod(shape[1:]) for shape in shapes):
        name = "inputs" if explicand.at == INPUT else "layer"
        raise InvalidArgument(
            name if i is None else f"{name}[{i}]",
            f"of shape {' and '.join(map(str, shapes))}",
            "what is perturbed has an element at least",
        )


def feature_count(explicand: Explicand) -> int:
    """Counts the features, as far as it is known before the model runs.

    At a site without a mask, whose size only the forward shows, it counts the elements of the
    inputs.

    Raises:
        InvalidArgument: If the inputs are explained, and have no elements.
    """
    if explicand.at == INPUT:
        check_elements(explicand, explicand.inputs)
    if explicand.feature_mask is None:
        return max(1, sum(prod(t.shape[1:]) for t in explicand.inputs))
    return max(1, len(torch.unique(torch.cat([m.flatten() for m in explicand.feature_mask]))))


def _selected(coalitions: Tensor, ids: Tensor, start: int, stop: int | None) -> Tensor:
    """Selects the elements of one tensor that each coalition has."""
    rows = len(coalitions)
    if len(ids) == 1:
        return coalitions[:, ids.flatten()].view(rows, *ids.shape[1:])
    own = ids[start:stop]
    return coalitions[:, own.flatten()].view(rows, *own.shape).transpose(0, 1)


def _fitted(i: int, mask: Tensor, shape: tuple[int, ...], *, leading: bool) -> Tensor:
    """Reshapes a mask to all dimensions of the tensor, some of them 1."""
    missing = (1,) * (len(shape) - mask.dim())
    forms = [(*missing, *mask.shape)]
    if leading and missing and mask.dim() > 1 and len(mask) in {1, shape[0]}:
        # As in `Explicand`: a mask means the same for a batch and for one of its examples.
        rows, *rest = mask.shape
        forms = [(*mask.shape, *missing), (rows, *missing, *rest)]
    for form in forms:
        if len(form) == len(shape) and all(n in {1, of} for n, of in zip(form, shape, strict=True)):
            return mask.reshape(form)
    raise InvalidArgument(
        f"feature_mask[{i}]",
        f"a tensor of shape {tuple(mask.shape)}",
        f"it must broadcast to one example, {(1, *shape[1:])}, or to all, {shape}",
    )
