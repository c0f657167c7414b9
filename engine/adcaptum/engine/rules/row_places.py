"""The places of a batch's rows in its tensors.

A model may move its rows: from (rows, time, features) to (time, rows, features), or to (rows *
heads, time, time). One number describes the place, the row stride: element f of the tensor, counted
in its logical order, belongs to row (f // stride) % rows. Reshaping does not change the stride. As
long as the rows come first, the stride is the number of elements per row, and nothing is stored.
`RowPlaces` follows the operations that may move rows. Where it loses the rows, `stride` raises
`RowsLost`, and the operation is reported as uncovered. In a batch of one row, every element belongs
to that row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from adcaptum.engine.rules.operations import BINARY, MOVEMENT, words
from adcaptum.engine.rules.parameters import is_parameter

_LOST = 0
_RESHAPES = words("""
    view reshape flatten unflatten squeeze unsqueeze ravel view_as reshape_as contiguous clone to
    type type_as alias float double half bfloat16 cpu cuda pin_memory lift_fresh atleast_1d real
""")
_BROADCASTS = BINARY | words("""
    add sub rsub mul where lerp addcmul masked_fill eq ne lt le gt ge logical_and logical_or
    logical_xor __and__ __or__ __xor__
""")
_SUMS = frozenset({"sum", "mean"})
_REDUCTIONS = words("sum mean amax amin max min nansum logsumexp var std linalg_vector_norm prod")
# Operations that may move rows away from the front. All others keep each row where it is.
_FOLLOWED = words("""
    transpose permute movedim t T mT H mH adjoint __getitem__ select narrow slice chunk split
    split_with_sizes tensor_split unsafe_chunk unsafe_split hsplit vsplit dsplit unbind expand
    expand_as broadcast_to repeat tile repeat_interleave cat stack hstack vstack dstack column_stack
    row_stack index_select gather take take_along_dim masked_select flip flipud roll rot90 diag
    diagonal trace unfold einsum tensordot
""")
_VIEWS = words("""
    transpose permute movedim t T mT H mH adjoint __getitem__ select narrow slice chunk split
    split_with_sizes unbind expand expand_as tensor_split unsafe_chunk unsafe_split
""")


_PERMUTATIONS = frozenset({"transpose", "permute", "t", "T", "mT"})


class RowsLost(Exception):
    """The places of the rows in a tensor are unknown."""


class RowPlaces:
    """The places of the rows in the tensors of one batch.

    Attributes:
        rows: The number of rows of the batch.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._moved: dict[int, tuple[ref[Tensor], int]] = {}

    def stride(self, x: Tensor) -> int:
        """Returns the row stride of a tensor.

        Raises:
            RowsLost: If it is unknown.
        """
        stride = self._known(x)
        if stride == _LOST:
            raise RowsLost
        return stride

    def leads(self, x: Tensor) -> bool:
        """Returns whether the rows come first, each in one piece."""
        return self._known(x) * self.rows == x.numel()

    def expand(self, x: Tensor, shape: torch.Size) -> Tensor:
        """Broadcasts a tensor of the batch, and notes the places of its rows."""
        if x.shape == shape:
            return x
        expanded = x.expand(shape)
        if self.rows > 1 and (len(shape) > x.dim() or not self.leads(x)):
            self._set(expanded, self._found(self._ids(x).expand(shape)))
        return expanded

    def follow(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        """Notes the places of the rows in an operation's results."""
        if self.rows == 1:
            return
        if not (self._moved and (self._touches(args) or self._touches(kwargs.values()))):
            if name in _BROADCASTS:
                first = args[0] if args else None
                if (
                    isinstance(first, Tensor)
                    and first.requires_grad
                    and first.shape == result.shape
                ):
                    return
            elif name not in _FOLLOWED and name not in _SUMS:
                return
        sources = [t for t in _tensors((args, kwargs)) if t.requires_grad and not is_parameter(t)]
        if not sources:
            return
        results = [t for t in _tensors((result,)) if t.requires_grad]
        if all(self.leads(t) for t in sources) and (
            self._same_beginning(sources, results)
            if name in _BROADCASTS
            else _stay(name, args, kwargs, sources, results)
        ):
            return
        for t, stride in zip(
            results, self._strides(name, func, args, kwargs, sources, results), strict=True
        ):
            self._set(t, stride)

    def _strides(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sources: list[Tensor],
        results: list[Tensor],
    ) -> list[int]:
        """Returns the row strides of an operation's results."""
        if not results:
            return []
        known = [self._known(t) for t in sources]
        first, out = sources[0], results[0]
        if _LOST in known:
            found = _LOST
        elif name in _RESHAPES:
            found = known[0]
        elif name in _PERMUTATIONS:
            found = _permuted(name, args, kwargs, first, known[0], out)
        elif name == "einsum":
            found = self._einsum(args, out)
        elif name in _BROADCASTS:
            found = self._found(self._ids(first).expand(out.shape))
        elif name in MOVEMENT or name in _REDUCTIONS:
            return self._traced(name, func, args, kwargs, sources, len(results))
        elif out.shape == first.shape:
            found = known[0]
        elif out.shape[:-1] == first.shape[:-1] and known[0] % first.shape[-1] == 0:
            # A linear map of the last dimension.
            found = known[0] // first.shape[-1] * out.shape[-1]
        else:
            found = _LOST
        return [found] * len(results)

    def _traced(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sources: list[Tensor],
        count: int,
    ) -> list[int]:
        """Finds the strides: runs the operation on tensors that hold each element's row number."""
        # As float64: not every operation that moves numbers takes integers.
        ids = {id(t): self._ids(t).double() for t in sources}
        if name in _REDUCTIONS:
            dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
            keepdim = bool(kwargs.get("keepdim", args[2] if len(args) > 2 else False))
            if dims is None:
                return [_LOST] * count
            return [self._found(torch.amax(ids[id(sources[0])], dims, keepdim))] * count
        traced = func(*_replaced(args, ids), **_replaced(kwargs, ids))
        found = [self._found(t) for t in _tensors((traced,))]
        return found if len(found) == count else [_LOST] * count

    def _einsum(self, args: tuple[Any, ...], out: Tensor) -> int:
        left, arrow, right = str(args[0]).replace(" ", "").partition("->")
        operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        for labels, t in zip(left.split(","), operands, strict=True):
            if not t.requires_grad or not self.leads(t) or len(t) != self.rows or not arrow:
                continue
            if labels[0] == right[:1]:  # a letter, or the first point of an ellipsis
                return out.numel() // self.rows
            at = right.find(labels[0])
            if at > 0 and "." not in right:
                return out[(0,) * (at + 1)].numel()
        return _LOST

    def _ids(self, x: Tensor) -> Tensor:
        stride = self.stride(x)
        ids = torch.arange(self.rows, device=x.device).view(1, -1, 1)
        return ids.expand(x.numel() // (self.rows * stride), -1, stride).reshape(x.shape)

    def _found(self, ids: Tensor) -> int:
        """Returns the row stride of a tensor that holds each element's row number."""
        flat = ids.reshape(-1)
        changes = (flat != 0).nonzero()
        if not len(changes):
            return _LOST
        stride = int(changes[0])
        if stride == 0 or flat.numel() % (stride * self.rows):
            return _LOST
        expected = torch.arange(self.rows, device=ids.device).view(1, -1, 1)
        return stride if bool((flat.view(-1, self.rows, stride) == expected).all()) else _LOST

    def _touches(self, args: Iterable[Any]) -> bool:
        """Returns whether an argument is a tensor whose rows have moved."""
        return any(
            id(a) in self._moved or (isinstance(a, list | tuple) and self._touches(a)) for a in args
        )

    def _same_beginning(self, sources: list[Tensor], results: list[Tensor]) -> bool:
        """Returns whether the dimensions that hold the rows come first in the results, too."""
        for source in sources:
            dims, count = 0, 1
            while count % self.rows and dims < source.dim():
                count *= source.shape[dims]
                dims += 1
            if all(
                t.dim() == source.dim() and t.shape[:dims] == source.shape[:dims] for t in results
            ):
                return True
        return False

    def _known(self, x: Tensor) -> int:
        if self._moved:
            found = self._moved.get(id(x))
            if found is not None:
                return found[1]
        return _LOST if x.numel() % self.rows or x.dim() == 0 else x.numel() // self.rows

    def _set(self, x: Tensor, stride: int) -> None:
        if stride * self.rows == x.numel():
            self._moved.pop(id(x), None)
        else:
            key = id(x)
            self._moved[key] = (ref(x, lambda _: self._moved.pop(key, None)), stride)


def _stay(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    sources: list[Tensor],
    results: list[Tensor],
) -> bool:
    """Returns whether an operation certainly leaves rows first that come first."""
    if name in _RESHAPES:
        return True
    if name in {"cat", "stack", "sum", "mean", "index_select", "gather", "cumsum", "flip", "roll"}:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dims = dim if isinstance(dim, list | tuple) else (dim,)
        of = results[0].dim() if name == "stack" else sources[0].dim()
        if all(isinstance(d, int) and d % max(of, 1) != 0 for d in dims):
            return True
    if name in _VIEWS:
        first = sources[0]
        return all(
            t._is_view()  # noqa: SLF001 - else a copy, whose rows may stand in another order
            and t.dim() > 0
            and t.shape[0] == first.shape[0]
            and t.stride(0) == first.stride(0)
            for t in results
        )
    return name not in _FOLLOWED and name not in _REDUCTIONS


def _permuted(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor, stride: int, out: Tensor
) -> int:
    """Returns the row stride after a permutation of the dimensions."""
    dims = list(range(x.dim()))
    if name in {"transpose", "mT", "t"}:
        first, last = -min(2, x.dim()), -1
        a = kwargs.get("dim0", args[1] if len(args) > 2 else first)
        b = kwargs.get("dim1", args[2] if len(args) > 2 else last)
        dims[a], dims[b] = dims[b], dims[a]
    elif name == "T":
        dims.reverse()
    elif name == "permute":
        given = kwargs.get("dims", args[1] if len(args) == 2 else args[1:])
        dims = [d % x.dim() for d in given]
    # Finds the dimension that holds the rows; `stride // behind` is its length within one row.
    behind = 1
    for d in reversed(range(x.dim())):
        if stride < behind * x.shape[d]:
            return stride // behind * prod(out.shape[dims.index(d) + 1 :])
        behind *= x.shape[d]
    return _LOST


def _tensors(values: Any) -> list[Tensor]:
    found = []
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple | dict):
            found += _tensors(value)
    return found


def _replaced(values: Any, by: dict[int, Tensor]) -> Any:
    if isinstance(values, Tensor):
        return by.get(id(values), values)
    if isinstance(values, dict):
        return {key: _replaced(value, by) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_replaced(value, by) for value in values)
    return values
