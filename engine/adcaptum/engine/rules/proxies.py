"""Differentiable proxies of tensors without a gradient: masks, indices, detached copies.

A comparison, an argmax or a `detach` takes a value out of the autograd graph, though it still
depends on the explained values. A proxy has the value's numbers in floating point, and a graph: by
a rule of its own, or as an opaque node through which no gradient flows, and which is reported where
the target depends on it. The interception does each operation on the value to the proxy, too (see
`proxied_calls`). The model itself sees only the value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor


class Reports(Protocol):
    """The receiver of reports about operations without a rule."""

    def report(self, name: str, result: object, arguments: object = ()) -> None: ...


class Proxies:
    """The proxies of one batch, by tensor. A tensor that is overwritten has an opaque one.

    Attributes:
        entries: By the tensor's identity: a reference to it, its version then, and the proxy.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self.entries: dict[int, tuple[ref[Tensor], int, Tensor]] = {}

    def set(self, tensor: Tensor, proxy: Tensor) -> None:
        """Sets a tensor's proxy."""
        key = id(tensor)
        reference = ref(tensor, lambda _: self.entries.pop(key, None))
        self.entries[key] = (reference, tensor._version, proxy)  # noqa: SLF001 - as autograd checks it

    def set_opaque(self, name: str, tensor: Tensor, sources: Iterable[Tensor]) -> None:
        """Sets a proxy through which no gradient flows, and reports the operation."""
        sources = tuple(sources)
        proxy = severed(tensor, sources)
        self._reports.report(name, proxy, sources)
        self.set(tensor, proxy)

    def of(self, value: object) -> Tensor | None:
        """Returns the proxy of a value; None if it has none, or a gradient of its own."""
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
        """Returns whether a value, or one in a list, tuple, dictionary or slice, has a proxy."""
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
        """Replaces the tensors that have a proxy by it."""
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
    """Connects a value with its sources in the graph, by a node without gradients."""
    value = value.detach()
    if not (value.is_floating_point() or value.is_complex()):
        value = value.to(number_dtype(sources))
    result: Tensor = _Severed.apply([value], *sources)  # type: ignore[no-untyped-call]
    return result


def number_dtype(sources: Iterable[Tensor]) -> torch.dtype:
    """Returns the dtype of proxies of integers and bools: that of the sources, at least float32."""
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
