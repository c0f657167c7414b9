"""Interception of a batch's operations, to give them another backward pass.

An `Interception` is a mode of torch that is active while the model runs on one batch, in one thread
only. It sees every operation, however it is called, and sets nothing on the model or its modules.

The dispatch table chooses the handler of an operation by its name (see `operations`):

1. A *handler* of the rule, if the rule has one: `handler(interception, func, args, kwargs)` returns
   the operation's result. It computes the value as usual and builds, in the autograd graph, the
   operations whose plain gradient is the wanted one; `attach` joins the two. For instance, an
   operation that is to have the gradient m has `attach(func(x.detach()), x * m)`. Handlers run
   with the interception off; `interception.within(f, ...)` runs f with it on.
   Handlers see only operations with an argument that depends on the explained values (`depends`),
   and never in-place forms: the table computes those out of place and copies the result.
2. A function that is written in Python (`F.multi_head_attention_forward`, `Tensor.norm`) runs with
   the interception on, so that each operation in its body has its own handler. So do the bodies
   that `decompositions` has for fused kernels.
3. An operation that the rule calls *plain* keeps its plain gradient.
4. Any other operation keeps it too, and `uncovered` lists it.
5. A result without a gradient that depends on the explained values gets a proxy, if the rule has
   makers of proxies (see `proxies`).

Parameters never count as depending on the explained values: the table detaches them, which also
saves the memory that autograd would keep for their gradients. Handlers receive the parameters
themselves, so that `args[1] is module.weight` identifies the layer of a linear operation.

To write a rule: a frozen dataclass (it is part of the evaluation's key) with `interception(model,
pairs)`, which makes an `Interception` with a `DispatchTable`, shared by all batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import proxy

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from adcaptum.engine.rules.audit import Node, nodes_behind, unhandled_operations
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.parameters import is_parameter
from adcaptum.engine.rules.proxies import Proxies

T = TypeVar("T")

Func = Callable[..., Any]
Handler = Callable[["Interception", Func, tuple[Any, ...], dict[str, Any]], Any]

# The number of elements from which a pass over memory takes longer than a call in Python.
_LARGE = 32_768

_top_saved_tensors_default_hooks = torch._C._autograd._top_saved_tensors_default_hooks  # noqa: SLF001 - torch shows its hooks nowhere else


class Rule(Protocol):
    """A backward rule: a frozen dataclass. Rows of evaluations with equal rules share batches."""

    def __hash__(self) -> int: ...

    def interception(self, model: object, pairs: Pairs | None) -> Interception:
        """Makes the interception of one batch.

        Args:
            model: The model of the batch.
            pairs: The pairs of row and reference row, for rules that compare rows.
        """
        ...


class Table(Protocol):
    """The handlers of a rule by operation; see `dispatch_table`.

    Attributes:
        hidden: The operations whose nodes of autograd the rule always replaces, by the lower-case
            names of these nodes.
    """

    @property
    def hidden(self) -> Mapping[str, str]: ...

    def action(self, func: Func) -> Handler:
        """Returns the handler of a function of torch."""
        ...

    def proxied(self, func: Func) -> Handler:
        """Returns the handler of calls with an argument that has a proxy."""
        ...


class Interception(TorchFunctionMode):
    """The application of a rule to one batch: a context manager around the model's forward.

    Attributes:
        pairs: The pairs of row and reference row, for rules that compare rows.
        proxies: Stand-ins for tensors that depend on the explained values and have no gradient.
        severs: Whether the model has taken a value that depends on the explained values out of
            autograd's graph.
    """

    def __init__(self, table: Table, pairs: Pairs | None = None) -> None:
        super().__init__()
        self.pairs = pairs
        self.proxies = Proxies(proxy(self))
        self.severs = False
        self._table = table
        self._uncovered: list[tuple[str, Node | None]] = []
        self._reported: set[Node] = set()

    def __torch_function__(
        self,
        func: Func,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Computes an operation by its handler."""
        kwargs = kwargs or {}
        if self.proxies.entries and self.proxies.among((args, kwargs)):
            action = self._table.proxied(func)
        else:
            action = self._table.action(func)
        if _top_saved_tensors_default_hooks(False) is None:
            return action(self, func, args, kwargs)
        with saved_tensors_hooks(_packed, _unpacked):
            return action(self, func, args, kwargs)

    def within(self, function: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Runs a function with the interception on; for handlers."""
        with self:
            return function(*args, **kwargs)

    def report(self, name: str, result: object, arguments: object = ()) -> None:
        """Records an operation without a rule, whose results have the plain gradient.

        It skips results without a gradient.

        Args:
            name: The operation's name.
            result: Its results.
            arguments: Its arguments; the nodes of the graph behind them are not its own.
        """
        before = {t.grad_fn for t in tree_leaves(arguments) if isinstance(t, Tensor)}
        for t in tree_leaves(result):
            if isinstance(t, Tensor) and t.requires_grad:
                self._uncovered.append((name, t.grad_fn))
                self._reported |= nodes_behind(t, before)

    def report_always(self, name: str) -> None:
        """Records an operation whose results cannot be followed to the target."""
        self._uncovered.append((name, None))

    def differentiable(self, objective: Tensor) -> Tensor:
        """Returns the target, or its proxy if the model returns counts or a detached tensor."""
        proxy = self.proxies.of(objective)
        if proxy is None or not objective.is_floating_point():
            return objective
        return proxy.to(objective.dtype)

    def uncovered(self, objective: Tensor) -> tuple[str, ...]:
        """Returns the names of operations without a rule on the way from input to target.

        The graph shows operations that torch does not hand to modes: those of scripted modules and
        of autograd functions written in Python.
        """
        behind = nodes_behind(objective)
        names = {name for name, node in self._uncovered if node is None or node in behind}
        return tuple(
            sorted(names | unhandled_operations(behind - self._reported, self._table.hidden))
        )


def depends(value: object) -> bool:
    """Returns whether a value is a tensor that depends on the explained values (no parameter)."""
    return isinstance(value, Tensor) and value.requires_grad and not is_parameter(value)


def any_depends(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether an argument, or a tensor in a list, depends on the explained values."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            if value.requires_grad and not is_parameter(value):
                return True
        elif isinstance(value, list | tuple) and any_depends(tuple(value), {}):
            return True
    return False


def attach(value: Tensor, surrogate: Tensor) -> Tensor:
    """Joins the value of one tensor with the gradient of another.

    Args:
        value: The value, without a graph; the result uses its memory.
        surrogate: A tensor of the same shape, made by operations whose backward does not need their
            result (such as mul, add, sum, mm, gather). It becomes the result.
    """
    assert surrogate.shape == value.shape, f"{surrogate.shape} stands for {value.shape}"
    if surrogate.dtype != value.dtype:
        surrogate = surrogate.to(value.dtype)
    if surrogate._is_view() or surrogate.is_leaf:  # noqa: SLF001
        surrogate = surrogate.clone()
    # Replaces the tensor's memory, at no cost and unseen by autograd.
    surrogate.data = value.detach()
    return surrogate


def scaled(value: Tensor, x: Tensor, multiplier: Tensor) -> Tensor:
    """Returns a tensor with a given value, whose gradient with respect to x is the multiplier.

    It is `attach(value, x * multiplier)`, without computing that product where it would cost more
    than a function written in Python.

    Args:
        value: The value, without a graph; the result uses its memory.
        x: A tensor of the same shape.
        multiplier: The multipliers of the first entries of x; those of the others are zero.
    """
    if not large(value) and multiplier.shape[0] == x.shape[0]:
        return attach(value, x * multiplier)
    result: Tensor = _Scaled.apply(x, [value.detach()], multiplier)  # type: ignore[no-untyped-call]
    return result


def large(x: Tensor) -> bool:
    """Returns whether a pass over a tensor's memory takes longer than a call in Python."""
    return x.numel() >= _LARGE


def completed(gradient: Tensor, rows: int) -> Tensor:
    """Pads a gradient of the first entries with zeros for the others, (rows, *features)."""
    if len(gradient) == rows:
        return gradient
    whole = gradient.new_empty((rows, *gradient.shape[1:]))
    whole[: len(gradient)] = gradient
    whole[len(gradient) :] = 0
    return whole


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], multiplier: Tensor) -> Tensor:  # noqa: ARG004
        # The value comes in a list: autograd takes a tensor argument that is returned for a view,
        # which the model could not overwrite.
        ctx.save_for_backward(multiplier)
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        (multiplier,) = ctx.saved_tensors
        count = len(multiplier)
        if count == len(gradient):
            return gradient * multiplier, None, None
        whole = torch.empty_like(gradient)
        torch.mul(gradient[:count], multiplier, out=whole[:count])
        whole[count:] = 0
        return whole, None, None


def _packed(tensor: Tensor) -> tuple[Tensor, int]:
    """Saves a tensor for backward itself, in spite of the hooks of a checkpoint.

    A checkpoint drops saved tensors and runs the model again in backward, where no rule is active.
    With these hooks on top of its own it has nothing to recompute.
    """
    return tensor, tensor._version  # noqa: SLF001 - as autograd checks it


def _unpacked(packed: tuple[Tensor, int]) -> Tensor:
    tensor, version = packed
    if tensor._version != version:  # noqa: SLF001
        raise RuntimeError(
            "a tensor that a gradient needs has been modified by an in-place operation"
        )
    return tensor
