"""Which operation is answered how: found once for each function of torch, then looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adcaptum.engine.rules.decompositions import DECOMPOSITIONS
from adcaptum.engine.rules.operations import ELEMENTWISE, PASSIVE, WHOLE, name_of
from adcaptum.engine.rules.row_places import RowsLost

if TYPE_CHECKING:
    from adcaptum.engine.rules.interception import Interception

Func = Callable[..., Any]
Handler = Callable[["Interception", Func, tuple[Any, ...], dict[str, Any]], Any]

# What is no parameter and holds none; looked up for every argument of every operation.
_HARMLESS = frozenset({Tensor, int, float, bool, str, type(None), torch.dtype, torch.Size, slice})
_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


class DispatchTable:
    """What a rule does with operations.

    Attributes:
        hidden: The operations of which the rule leaves no trace in the graph, by the names of
            autograd's nodes in small letters: where one is found there, something has escaped.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        plain: frozenset[str],
        hidden: frozenset[str] = frozenset(),
        *,
        otherwise: Callable[[str], Handler] | None = None,
    ) -> None:
        """Takes the rule's handlers by operation, and the names of those whose gradient is right.

        Args:
            handlers: By name; they come before decompositions and `plain`.
            plain: The operations whose plain gradient is the rule's.
            hidden: The names of operations that leave no trace in the graph, see above.
            otherwise: What makes a handler for any other operation, by its name; it should report
                it. None: the plain gradient, reported.
        """
        self.hidden = {name.replace("_", ""): name for name in hidden}
        self._otherwise = otherwise
        self._handlers = handlers
        self._plain = plain
        # Threads may find the same action twice; it is the same.
        self._actions: dict[Func, Handler] = {}

    def action(self, func: Func) -> Handler:
        """What answers a function of torch."""
        action = self._actions.get(func)
        if action is None:
            action = self._actions[func] = self._find(func)
        return action

    def _find(self, func: Func) -> Handler:
        name, in_place = name_of(func)
        if name in PASSIVE:
            return _run
        handler = self._handlers.get(name)
        if isinstance(func, FunctionType) and name not in WHOLE:
            if name in ELEMENTWISE and handler is not None:
                return _or_in_place(func, _guarded(name, handler), _entered(func))
            if name not in self._plain and set(_CHECKS) & set(func.__code__.co_names):
                return _entered(func)
        if handler is None and name in DECOMPOSITIONS and name not in self._plain:
            handler = _decomposed(DECOMPOSITIONS[name])
        if handler is None and name in self._plain:
            return _plain(name)
        if handler is None:
            if self._otherwise is None:
                return _unknown(name)
            handler = self._otherwise(name)
        return _in_place(name, func, handler) if in_place else _guarded(name, handler)


def run_plain(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs an operation as it is, with parameters detached."""
    for a in args:
        if type(a) not in _HARMLESS:
            args = tuple([a if type(a) in _HARMLESS else _detached(a) for a in args])
            break
    if kwargs:
        kwargs = {key: _detached(value) for key, value in kwargs.items()}
    return func(*args, **kwargs)


def any_depends(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an argument, or a tensor in a list of them, depends on what is explained."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            if value.requires_grad and not isinstance(value, nn.Parameter):
                return True
        elif isinstance(value, list | tuple) and any_depends(tuple(value), {}):
            return True
    return False


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach() if value.is_leaf and isinstance(value, nn.Parameter) else value
    if isinstance(value, list | tuple) and any(isinstance(v, nn.Parameter) for v in value):
        return [_detached(v) for v in value]
    return value


def _run(
    interception: Interception,  # noqa: ARG001 - a handler
    func: Func,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    return func(*args, **kwargs)


def _plain(name: str) -> Handler:
    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = run_plain(func, args, kwargs)
        if interception.pairs is not None:
            interception.pairs.follow(name, func, args, kwargs, result)
        return result

    return action


def _unknown(name: str) -> Handler:
    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = run_plain(func, args, kwargs)
        if torch.is_grad_enabled() and any_depends(args, kwargs):
            interception.report(name, result, (args, kwargs))
            if interception.pairs is not None:
                interception.pairs.follow(name, func, args, kwargs, result)
        return result

    return action


def _guarded(name: str, handler: Handler) -> Handler:
    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not (torch.is_grad_enabled() and any_depends(args, kwargs)):
            return run_plain(func, args, kwargs)
        pairs = interception.pairs
        if pairs is None:
            return handler(interception, func, args, kwargs)
        tape = pairs.tape
        if tape is not None:
            tape.begin(name)
        try:
            result = handler(interception, func, args, kwargs)
        except RowsLost:
            if tape is not None:
                tape.lost()
            result = run_plain(func, args, kwargs)
            interception.report(name, result, (args, kwargs))
        pairs.follow(name, func, args, kwargs, result)
        return result

    return action


def _in_place(name: str, func: Func, handler: Handler) -> Handler:
    """Computes out of place and copies: what a rule builds may not be overwritten."""

    def out_of_place(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return func(x.clone(), *args, **kwargs)

    out_of_place.__name__ = name
    guarded = _guarded(name, handler)

    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not (torch.is_grad_enabled() and any_depends(args, kwargs)):
            return run_plain(func, args, kwargs)
        target: Tensor = args[0]
        return target.copy_(guarded(interception, out_of_place, args, kwargs))

    return action


def _or_in_place(func: FunctionType, guarded: Handler, entered: Handler) -> Handler:
    """For functions with an argument `inplace`."""
    names = list(signature(func).parameters)
    at = names.index("inplace") if "inplace" in names else len(names)

    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if kwargs.get("inplace") or (len(args) > at and args[at]):
            return entered(interception, func, args, kwargs)
        return guarded(interception, func, args, kwargs)

    return action


def _entered(func: FunctionType) -> Handler:
    """Runs a Python function's body with the interception on.

    Such functions begin by asking whether a mode is active, and hand themselves to it. The body
    that is run here has the answer no; what it calls asks for itself.
    """
    silent = {name: lambda *_: False for name in _CHECKS}
    body = FunctionType(
        func.__code__,
        {**func.__globals__, **silent},
        func.__name__,
        func.__defaults__,
        func.__closure__,
    )
    body.__kwdefaults__ = func.__kwdefaults__
    return _decomposed(body)


def _decomposed(body: Func) -> Handler:
    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not (torch.is_grad_enabled() and any_depends(args, kwargs)):
            return run_plain(func, args, kwargs)
        with interception:
            return body(*args, **kwargs)

    return action
