"""Interception of a batch's operations, to give them another backward pass.

An `Interception` is a mode of torch that is active while the model runs on one batch, in one thread
only. It sees every operation, however it is called, and sets nothing on the model or its modules.

The dispatch table chooses the handler of an operation by its name (see `operations`):

1. A *handler* of the rule, if the rule has one: `handler(interception, func, args, kwargs)` returns
   the operation's result. It computes the value as usual and builds, in the autograd graph, the
   operations whose plain gradient is the wanted one; `attach` joins the two. For instance, an
   operation that is to have the gradient m has `attach(func(x.detach()), x * m)`. Handlers run
   with the interception off; `interception.within(f, ...)` runs f with it on.
   Handlers see only operations of which an argument depends on what is explained (`depends`), and
   never in-place forms: those are computed out of place and copied.
2. A function that is written in Python (`F.multi_head_attention_forward`, `Tensor.norm`) runs with
   the interception on, so that each operation in its body has its own handler. So do the bodies
   that `decompositions` has for fused kernels.
3. An operation that the rule calls *plain* keeps its plain gradient.
4. Any other operation keeps it too, and `uncovered` lists it.
5. A result without a gradient that depends on what is explained gets a proxy, if the rule has
   makers of proxies (see `proxies`).

Parameters never count as depending on what is explained: they are detached, which also saves what
autograd would keep for their gradients. Handlers see them as they are, so that `args[1] is
module.weight` says which layer a linear operation belongs to.

To write a rule: a frozen dataclass (it is part of the evaluation's key) with `interception(model,
pairs)`, which makes an `Interception` with a `DispatchTable`, shared by all batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import proxy

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from adcaptum.engine.rules.audit import Node, nodes_behind, unhandled_operations
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.proxies import Proxies

T = TypeVar("T")

Func = Callable[..., Any]
Handler = Callable[["Interception", Func, tuple[Any, ...], dict[str, Any]], Any]

# Elements from which a pass over memory takes longer than Python does.
_LARGE = 32_768

_top_saved_tensors_default_hooks = torch._C._autograd._top_saved_tensors_default_hooks  # noqa: SLF001 - torch shows its hooks nowhere else


class Rule(Protocol):
    """A backward rule: a frozen dataclass. Rows of evaluations with equal rules share batches."""

    def __hash__(self) -> int: ...

    def interception(self, model: object, pairs: Pairs | None) -> Interception:
        """Begins a batch.

        Args:
            model: The model that is going to run.
            pairs: Which row is compared with which, for rules that do.
        """
        ...


class Table(Protocol):
    """The handlers of a rule by operation; see `dispatch_table`.

    Attributes:
        hidden: The operations of which the rule leaves no node of autograd's own in the graph, by
            the names of these nodes in small letters.
    """

    @property
    def hidden(self) -> Mapping[str, str]: ...

    def action(self, func: Func) -> Handler:
        """The handler of a function of torch."""
        ...

    def proxied(self, func: Func) -> Handler:
        """The handler of calls of which an argument has a proxy."""
        ...


class Interception(TorchFunctionMode):
    """The rule at work on one batch: a context manager around the model's forward.

    Attributes:
        pairs: Which row is compared with which, for rules that do.
        proxies: Stand-ins for tensors that depend on what is explained and have no gradient.
        severs: Whether the model has taken a value that depends on what is explained out of
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
        """Answers an operation."""
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
        """Runs a function with its operations intercepted; for handlers."""
        with self:
            return function(*args, **kwargs)

    def report(self, name: str, result: object, arguments: object = ()) -> None:
        """Records an operation without a rule, whose results have the plain gradient.

        Results without a gradient are left out.

        Args:
            name: The operation's name.
            result: Its results.
            arguments: Its arguments: nodes of the graph behind them are not the operation's.
        """
        before = {t.grad_fn for t in tree_leaves(arguments) if isinstance(t, Tensor)}
        for t in tree_leaves(result):
            if isinstance(t, Tensor) and t.requires_grad:
                self._uncovered.append((name, t.grad_fn))
                self._reported |= nodes_behind(t, before)

    def report_always(self, name: str) -> None:
        """Reports an operation whose results cannot be followed to the target."""
        self._uncovered.append((name, None))

    def differentiable(self, objective: Tensor) -> Tensor:
        """Returns the target, or its proxy if the model returns counts or a detached tensor."""
        proxy = self.proxies.of(objective)
        if proxy is None or not objective.is_floating_point():
            return objective
        return proxy.to(objective.dtype)

    def uncovered(self, objective: Tensor) -> tuple[str, ...]:
        """The operations without a rule between what is explained and the target, by name.

        Operations that torch does not show, in scripted modules or in autograd functions written
        in Python, are found in the graph.
        """
        behind = nodes_behind(objective)
        names = {name for name, node in self._uncovered if node is None or node in behind}
        return tuple(
            sorted(names | unhandled_operations(behind - self._reported, self._table.hidden))
        )


def depends(value: object) -> bool:
    """Tells if it is a tensor that depends on what is explained. Parameters do not."""
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)


def any_depends(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tells if an argument, or a tensor in a list of them, depends on what is explained."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            if value.requires_grad and not isinstance(value, nn.Parameter):
                return True
        elif isinstance(value, list | tuple) and any_depends(tuple(value), {}):
            return True
    return False


def attach(value: Tensor, surrogate: Tensor) -> Tensor:
    """A tensor with the value of one and the gradient of another.

    Args:
        value: Without a graph; it becomes the result's memory.
        surrogate: Made by operations of whose results autograd keeps nothing (mul, add, sum, mm,
            gather do not keep theirs), of the same shape. It becomes the result.
    """
    assert surrogate.shape == value.shape, f"{surrogate.shape} stands for {value.shape}"
    if surrogate.dtype != value.dtype:
        surrogate = surrogate.to(value.dtype)
    if surrogate._is_view() or surrogate.is_leaf:  # noqa: SLF001
        surrogate = surrogate.clone()
    # Puts other memory behind the tensor: costs nothing, and autograd has no part in it.
    surrogate.data = value.detach()
    return surrogate


def scaled(value: Tensor, x: Tensor, multiplier: Tensor) -> Tensor:
    """A tensor with the value of one, whose gradient with respect to x is the multiplier.

    It is `attach(value, x * multiplier)`, without that product where it would cost more than a
    function written in Python.

    Args:
        value: Without a graph; it becomes the result's memory.
        x: Of the same shape.
        multiplier: Of as many first entries as a gradient comes from; the others get zero.
    """
    if not large(value) and len(multiplier) == len(x):
        return attach(value, x * multiplier)
    result: Tensor = _Scaled.apply(x, [value.detach()], multiplier)  # type: ignore[no-untyped-call]
    return result


def large(x: Tensor) -> bool:
    """Tells if a pass over a tensor's memory takes longer than a function written in Python."""
    return x.numel() >= _LARGE


def completed(gradient: Tensor, rows: int) -> Tensor:
    """A gradient of the first entries, with zeros for the others, (rows, *features)."""
    if len(gradient) == rows:
        return gradient
    whole = gradient.new_empty((rows, *gradient.shape[1:]))
    whole[: len(gradient)] = gradient
    whole[len(gradient) :] = 0
    return whole


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], multiplier: Tensor) -> Tensor:  # noqa: ARG004
        # The value comes in a list, because a tensor that is handed through is a view to autograd,
        # which may not be overwritten.
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
    """Saves a tensor as it is, in spite of the hooks of a checkpoint.

    A checkpoint drops what is saved and runs the model again in backward, where no rule is at
    work. With these hooks over its own it has nothing to recompute.
    """
    return tensor, tensor._version  # noqa: SLF001 - as autograd checks it


def _unpacked(packed: tuple[Tensor, int]) -> Tensor:
    tensor, version = packed
    if tensor._version != version:  # noqa: SLF001
        raise RuntimeError(
            "a tensor that a gradient needs has been modified by an in-place operation"
        )
    return tensor
