"""The dispatch table of a rule: the handler of each function of torch, found once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.decompositions import DECOMPOSITIONS
from adcaptum.engine.rules.interception import Func, Handler, Interception, any_depends
from adcaptum.engine.rules.operations import (
    ELEMENTWISE,
    INDEXING,
    LEAVING,
    MOVEMENT,
    NEUTRAL,
    PASSIVE,
    SEVERING,
    WHOLE,
    name_of,
)
from adcaptum.engine.rules.parameters import is_parameter
from adcaptum.engine.rules.proxied_calls import (
    carried,
    cut,
    indexed,
    leaving,
    made_by,
    opaque,
    overwriting,
    set_item,
    without_views,
)
from adcaptum.engine.rules.row_places import RowsLost

# Types that are no parameter and hold none; `run_plain` checks every argument against them.
_HARMLESS = frozenset({Tensor, int, float, bool, str, type(None), torch.dtype, torch.Size, slice})
# Operations with indices for their first or second argument.
_LOOKUPS = frozenset({"embedding", "embedding_bag"})
_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


class DispatchTable:
    """The handlers of a rule.

    Attributes:
        hidden: The operations whose nodes of autograd the rule always replaces, by the lower-case
            names of these nodes: one that is left in the graph is an operation that no handler saw.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        plain: frozenset[str],
        hidden: frozenset[str] = frozenset(),
        *,
        otherwise: Callable[[str], Handler] | None = None,
        makers: Mapping[str, Handler] | None = None,
        constant: frozenset[str] = frozenset(),
        checked: frozenset[str] = frozenset(),
    ) -> None:
        """Makes the table of a rule.

        Args:
            handlers: The handlers by name; they precede decompositions and `plain`.
            plain: The operations whose plain gradient is the rule's.
            hidden: The names of operations whose nodes the rule always replaces, see above.
            otherwise: Makes the handler of any other operation from its name; that handler should
                report the operation. None: the plain gradient, reported.
            makers: The makers of proxies by name: for operations whose results have no gradient,
                and for others where an argument has a proxy. Results without a maker get an opaque
                proxy. None: the rule takes results without a gradient for constants.
            constant: The names of operations whose results are constants to the rule.
            checked: The names of operations in `INDEXING` whose handlers report indices that
                differ between a row and its reference.
        """
        self.hidden = {name.replace("_", ""): name for name in hidden}
        self._otherwise = otherwise
        self._handlers = handlers
        self._plain = plain
        self._makers = makers
        self._constant = constant
        self._checked = checked
        # Two threads may find the same action at once, with equal results.
        self._actions: dict[Func, Handler] = {}
        self._proxied: dict[Func, Handler] = {}

    def action(self, func: Func) -> Handler:
        """Returns the handler of a function of torch."""
        action = self._actions.get(func)
        if action is None:
            action = self._actions[func] = self._watched(func, self._find(func))
        return action

    def proxied(self, func: Func) -> Handler:
        """Returns the handler of calls with an argument that has a proxy."""
        action = self._proxied.get(func)
        if action is None:
            action = self._proxied[func] = self._find_proxied(*name_of(func), func)
        return action

    def _find(self, func: Func) -> Handler:
        name, in_place = name_of(func)
        if name in PASSIVE:
            return leaving(name) if name in LEAVING and self._tracks(name) else _run
        if self._enters(name, func):
            return _entered(func)
        handler = self._handlers.get(name)
        if handler is None and name in self._plain:
            return _plain(name)
        if handler is None and name in DECOMPOSITIONS:
            handler = _decomposed(DECOMPOSITIONS[name])
        if handler is None:
            handler = None if self._otherwise is None else self._otherwise(name)
        elif isinstance(func, FunctionType) and name in ELEMENTWISE - WHOLE:
            return _or_in_place(func, _guarded(name, handler), _entered(func))
        if handler is None:
            return _unknown(name)
        return _in_place(name, func, handler) if in_place else _guarded(name, handler)

    def _tracks(self, name: str) -> bool:
        """Returns whether an operation's results without a gradient get proxies."""
        return self._makers is not None and name not in self._constant

    def _enters(self, name: str, func: Func) -> bool:
        """Returns whether a function is written in Python and runs with the interception on."""
        if not isinstance(func, FunctionType) or name in WHOLE or name in self._plain:
            return False
        if name in ELEMENTWISE and name in self._handlers:
            return False
        return bool(set(_CHECKS) & set(func.__code__.co_names))

    def _watched(self, func: Func, action: Handler) -> Handler:
        """Returns the action, followed by making proxies for its results without a gradient."""
        name, in_place = name_of(func)
        if name in NEUTRAL or self._enters(name, func):
            return action
        if not self._tracks(name):
            if name in SEVERING | LEAVING:
                return _severing(action)
            return _without_views(action) if name in MOVEMENT else action
        if name in LEAVING:
            return action
        maker = (self._makers or {}).get(name)
        overwrites = in_place or name == "__setitem__"

        def watched(
            interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            unseen = overwrites and not torch.is_grad_enabled() and any_depends(args[:1], {})
            result = action(interception, func, args, kwargs)
            if unseen:
                interception.report_always(name)
            if not torch.is_grad_enabled():
                result = without_views(result, args)
            if type(result) is Tensor and result.requires_grad:
                return result
            if any_depends(args, kwargs):
                cut(interception, name, maker, (func, args, kwargs), result)
            return result

        return watched

    def _find_proxied(self, name: str, in_place: bool, func: Func) -> Handler:
        if name in NEUTRAL or not self._tracks(name):
            return _run
        if name in LEAVING:
            return leaving(name)
        if self._enters(name, func):
            return _entered(func)
        if name == "__setitem__":
            return set_item
        if in_place:
            return overwriting(name, func, self._find_proxied)
        return self._find_computed(name, func)

    def _find_computed(self, name: str, func: Func) -> Handler:
        """Returns the handler of an out-of-place operation with an argument that has a proxy."""
        maker = (self._makers or {}).get(name)
        if maker is not None:
            return made_by(name, maker)
        if name in INDEXING:
            return indexed(name, self._find(func), checks=name in self._checked)
        known = name in self._handlers or name in self._plain
        if known and name not in _LOOKUPS:
            return carried(name, self._find(func))
        return opaque(name)


def _severing(action: Handler) -> Handler:
    """Wraps an action to note that a value leaves the graph, as a constant to the rule."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        interception.severs = interception.severs or any_depends(args, kwargs)
        return action(interception, func, args, kwargs)

    return handler


def _without_views(action: Handler) -> Handler:
    """Takes views that are made without gradients for constants."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = action(interception, func, args, kwargs)
        if torch.is_grad_enabled() or not any_depends(args, kwargs):
            return result
        interception.severs = True
        return without_views(result, args)

    return handler


def run_plain(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs an operation unchanged, with parameters detached."""
    for a in args:
        if type(a) not in _HARMLESS:
            args = tuple([a if type(a) in _HARMLESS else _detached(a) for a in args])
            break
    if kwargs:
        kwargs = {key: _detached(value) for key, value in kwargs.items()}
    return func(*args, **kwargs)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach() if is_parameter(value) and value.is_leaf else value
    if isinstance(value, list | tuple) and any(is_parameter(v) for v in value):
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
        trace = pairs.trace
        if trace is not None:
            trace.begin(name)
        try:
            result = handler(interception, func, args, kwargs)
        except RowsLost:
            if trace is not None:
                trace.lost()
            result = run_plain(func, args, kwargs)
            interception.report(name, result, (args, kwargs))
        pairs.follow(name, func, args, kwargs, result)
        return result

    return action


def _in_place(name: str, func: Func, handler: Handler) -> Handler:
    """Wraps a handler of an in-place operation: computes out of place, and copies the result."""

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
    """Chooses between two handlers by the argument `inplace`."""
    names = list(signature(func).parameters)
    at = names.index("inplace") if "inplace" in names else len(names)

    def action(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if kwargs.get("inplace") or (len(args) > at and args[at]):
            return entered(interception, func, args, kwargs)
        return guarded(interception, func, args, kwargs)

    return action


def _entered(func: Func) -> Handler:
    """Returns a handler that runs a Python function's body with the interception on.

    Such functions begin by asking whether a mode is active, and hand themselves to it. In the copy
    of the body that runs here the answer is no; the functions that it calls ask for themselves.
    """
    assert isinstance(func, FunctionType), "it is written in Python"
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
        if not (torch.is_grad_enabled() and _concerns(interception, args, kwargs)):
            return run_plain(func, args, kwargs)
        with interception:
            return body(*args, **kwargs)

    return action


def _concerns(interception: Interception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether an argument depends on the explained values, or has a proxy that does."""
    if any_depends(args, kwargs):
        return True
    return interception.proxies.among((args, kwargs))
