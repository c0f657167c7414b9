"""Differentiable proxies of tensors without a gradient: masks, indices, detached copies.

A comparison, an argmax or a `detach` takes a value out of the autograd graph, though it still
depends on what is explained. A proxy has the value's numbers in floating point, and a graph: by a
rule of its own, or as an opaque node through which no gradient flows, and which is reported where
the target depends on it. Operations on the value are done to the proxy, too (see `proxied_calls`).
The model itself sees only the value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor


class Reports(Protocol):
    """Where operations without a rule are reported."""

    def report(self, name: str, result: object, arguments: object = ()) -> None: ...


class Proxies:
    """The proxies of one batch, by tensor. A tensor that is overwritten has an opaque one.

    Attributes:
        entries: Each with a reference to its tensor, and the version that this had; by identity.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self.entries: dict[int, tuple[ref[Tensor], int, Tensor]] = {}

    def set(self, tensor: Tensor, proxy: Tensor) -> None:
        """Gives a tensor a proxy, in place of the one that it may have."""
        key = id(tensor)
        reference = ref(tensor, lambda _: self.entries.pop(key, None))
        self.entries[key] = (reference, tensor._version, proxy)  # noqa: SLF001 - as autograd checks it

    def set_opaque(self, name: str, tensor: Tensor, sources: Iterable[Tensor]) -> None:
        """Gives a tensor a proxy without a gradient, reported under the operation's name."""
        sources = tuple(sources)
        proxy = severed(tensor, sources)
        self._reports.report(name, proxy, sources)
        self.set(tensor, proxy)

    def of(self, value: object) -> Tensor | None:
        """The proxy of a value; None if it has none, or a gradient of its own."""
        if not isinstance(value, Tensor) or value.requires_grad:
            return None
        tensor, version, proxy = self.entries.get(id(value), (None, 0, None))
        if tensor is None or proxy is None or tensor() is not value:
            return None
        if version != value._version:  # noqa: SLF001
            # Another view of the same memory was written to.
            self.set_opaque("copy", value, (proxy,))
            return self.entries[id(value)][2]
        return proxy

    def among(self, values: object) -> bool:
        """Tells if a value, or one in a list, tuple, dictionary or slice, has a proxy."""
        if isinstance(values, Tensor):
            return not values.requires_grad and self.of(values) is not None
        if isinstance(values, dict):
            values = values.values()
        elif isinstance(values, slice):
            values = (values.start, values.stop, values.step)
        elif not isinstance(values, list | tuple):
            return False
        return any(map(self.among, values))

    def substituted(self, values: Any) -> Any:
        """Values with proxies in the places of the tensors that have one."""
        if isinstance(values, Tensor):
            proxy = self.of(values)
            return values if proxy is None else proxy
        if isinstance(values, dict):
            return {key: self.substituted(value) for key, value in values.items()}
        if isinstance(values, list | tuple):
            made = [self.substituted(value) for value in values]
            return made if type(values) is list else tuple(made)
        return values


def severed(value: Tensor, sources: tuple[Tensor, ...]) -> Tensor:
    """Numbers in the graph behind their sources, through which no gradient flows."""
    value = value.detach()
    if not (value.is_floating_point() or value.is_complex()):
        value = value.to(number_dtype(sources))
    result: Tensor = _Severed.apply([value], *sources)  # type: ignore[no-untyped-call]
    return result


def number_dtype(sources: Iterable[Tensor]) -> torch.dtype:
    """The type in which counts and truth values are computed with: at least float32."""
    dtype = torch.float32
    for t in sources:
        if t.is_floating_point() or t.is_complex():
            dtype = torch.promote_types(dtype, t.dtype.to_real())
    return dtype


class _Severed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: list[Tensor], *sources: Tensor) -> Tensor:
        ctx.count = len(sources)
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:  # noqa: ARG004
        return (None,) * (1 + ctx.count)
