"""Operations on tensors with proxies, done to the values and to the proxies.

Where another argument has a gradient, the model receives the result for the proxies, with its
graph. Else it receives the result for the values, without a gradient, which gets a proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from adcaptum.engine.rules.interception import Func, Handler, Interception, any_depends, depends
from adcaptum.engine.rules.proxies import severed
from adcaptum.engine.rules.row_places import RowsLost

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def cut(
    interception: Interception,
    name: str,
    maker: Handler | None,
    call: tuple[Func, Arguments, Keywords],
    value: object,
) -> None:
    """Gives proxies to an operation's results without a gradient.

    Args:
        interception: The interception of the batch.
        name: The operation's name.
        maker: Makes the proxy from the arguments; None: there is no rule, and it is opaque.
        call: The operation and its arguments.
        value: Its results.
    """
    results = [t for t in tree_leaves(value) if isinstance(t, Tensor) and not t.requires_grad]
    if not results:
        return
    interception.severs = True
    proxies = interception.proxies
    func, args, kwargs = call
    args, kwargs = proxies.substituted(args), proxies.substituted(kwargs)
    with torch.enable_grad():
        sources = _dependents((args, kwargs))
        if maker is not None and isinstance(value, Tensor):
            proxy = _made(interception, name, maker, (func, args, kwargs), value)
            if _stands_for(proxy, value):
                proxies.set(value, proxy)
                return
        for t in results:
            proxies.set_opaque(name, t, sources)


def without_graph(func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Runs an operation; nothing that it gives requires a gradient."""
    with torch.no_grad():
        value = func(*args, **kwargs)
    return without_views(value)


def without_views(value: Any, args: Arguments = ()) -> Any:
    """Results of an operation without gradients, none of which requires one, unless it is given.

    torch says of a view of what requires a gradient, or of a parameter, that it does too, although
    no gradient goes through it.
    """
    given = {id(a) for a in args}

    def plain(t: Tensor) -> Tensor:
        return t.detach() if t.requires_grad and id(t) not in given else t

    return tree_map_only(Tensor, plain, value)


def slice_bounds(index: object) -> list[object]:
    """The bounds of the slices in an index, which Python takes for numbers."""
    found = [s for s in tree_leaves(index) if isinstance(s, slice)]
    return [bound for s in found for bound in (s.start, s.stop, s.step)]


def leaving(name: str) -> Handler:
    """Returns the handler of operations whose result leaves torch for Python: always reported."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        if any_depends(args, kwargs) or interception.proxies.among((args, kwargs)):
            interception.severs = True
            interception.report_always(name)
        return func(*args, **kwargs)

    return handler


def made_by(name: str, maker: Handler) -> Handler:
    """Returns the handler of an operation with a maker of its result's proxy."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        value = without_graph(func, args, kwargs)
        if not any_depends(args, kwargs) or not torch.is_grad_enabled():
            cut(interception, name, maker, (func, args, kwargs), value)
            return value
        proxies = interception.proxies
        call = (func, proxies.substituted(args), proxies.substituted(kwargs))
        result = _made(interception, name, maker, call, value)
        return _finished(interception, name, value, result, graph=True)

    return handler


def carried(name: str, action: Handler) -> Handler:
    """Returns a handler that applies the rule's own handler to the proxies."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        value = without_graph(func, args, kwargs)
        if not torch.is_grad_enabled():
            cut(interception, name, None, (func, args, kwargs), value)
            return value
        proxies = interception.proxies
        result = action(interception, func, proxies.substituted(args), proxies.substituted(kwargs))
        graph = any_depends(args, kwargs)
        return _finished(interception, name, value, result, graph=graph)

    return handler


def opaque(name: str) -> Handler:
    """Returns the handler of an operation without a rule: an opaque proxy, reported."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        if any_depends(args, kwargs):
            value = func(*args, **kwargs)
            interception.report(name, value, (args, kwargs))
        else:
            value = without_graph(func, args, kwargs)
        cut(interception, name, None, (func, args, kwargs), value)
        return value

    return handler


def indexed(name: str, action: Handler, *, checks: bool) -> Handler:
    """Returns the handler of an indexing operation: all arguments but the first are indices.

    Args:
        name: The operation's name.
        action: The rule's handler of it.
        checks: Whether `action` reports indices that differ between row and reference; if not,
            indices with a proxy are always reported.
    """

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        if not args:
            return opaque(name)(interception, func, args, kwargs)
        proxies = interception.proxies
        if proxies.among(slice_bounds(args[1:])):
            interception.report_always(name)
        given = (proxies.substituted(args[0]), *args[1:])
        value = without_graph(func, args, kwargs)
        if not any_depends(given, kwargs) or not torch.is_grad_enabled():
            cut(interception, name, None, (func, args, kwargs), value)
            return value
        result = action(interception, func, given, kwargs)
        if not checks and proxies.among((args[1:], kwargs)):
            interception.report(name, result, (given, kwargs))
        return _finished(interception, name, value, result, graph=any_depends(args, kwargs))

    return handler


def overwriting(name: str, func: Func, find: Callable[[str, bool, Func], Handler]) -> Handler:
    """Returns the handler of an in-place operation: computed out of place, and copied."""

    def out_of_place(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return func(x.clone(), *args, **kwargs)

    out_of_place.__name__ = name
    handler = find(name, False, out_of_place)

    def action(
        interception: Interception,
        func: Func,
        args: Arguments,
        kwargs: Keywords,
    ) -> Any:
        if not torch.is_grad_enabled():
            return _overwritten(interception, name, (func, args, kwargs))
        result = handler(interception, out_of_place, args, kwargs)
        return _copied(interception, name, args[0], result)

    return action


def set_item(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Handles `target[index] = value`; with a mask and one number it is `where`."""
    target, index, value = args
    if interception.proxies.among(slice_bounds(index)):
        interception.report_always("setitem")
    one = not isinstance(value, Tensor) or value.numel() == 1
    within = interception.within
    masked = isinstance(index, Tensor) and index.dtype == torch.bool and one
    places = interception.proxies.among(index)
    if not torch.is_grad_enabled() or not target.is_floating_point() or (places and not masked):
        return _overwritten(interception, "setitem", (func, args, kwargs))
    if places:
        value = value.reshape(()) if isinstance(value, Tensor) else value
        ones = (1,) * (target.dim() - index.dim())
        mask = within(index.reshape, *index.shape, *ones) if ones else index
        copy = within(target.clone)
        changed = within(lambda: torch.where(mask, value, copy))
    else:
        number = interception.proxies.substituted(value)
        changed = interception.proxies.substituted(within(target.clone))
        within(changed.__setitem__, index, within(number.to, target.dtype))
        if not any_depends(args, kwargs):
            changed, proxy = changed.detach(), changed
            interception.proxies.set(changed, proxy)
    return _copied(interception, "setitem", target, changed)


def _copied(interception: Interception, name: str, target: Tensor, changed: Tensor) -> Tensor:
    """Overwrites a tensor and its proxy with a result that was computed out of place."""
    proxies = interception.proxies
    before, after = proxies.of(target), proxies.of(changed)
    if before is not None and _shares_memory(target, before):
        # The tensor that shares the memory no longer has the values that its graph computed.
        interception.report_always(name)
    target.copy_(changed)
    if after is not None:
        proxies.set(target, after)
    return target


def _overwritten(
    interception: Interception, name: str, call: tuple[Func, Arguments, Keywords]
) -> Any:
    """Runs an in-place operation without a rule, and reports it."""
    func, args, kwargs = call
    proxies, target = interception.proxies, args[0]
    before = proxies.of(target)
    sources = _dependents((proxies.substituted(args), proxies.substituted(kwargs)))
    value = func(*args, **kwargs)
    if not target.requires_grad:
        with torch.enable_grad():
            proxies.set_opaque(name, target, sources)
        if before is not None and _shares_memory(target, before):
            interception.report_always(name)
    elif torch.is_grad_enabled():
        interception.report(name, target)
    else:
        interception.report_always(name)
    return value


def _made(
    interception: Interception,
    name: str,
    maker: Handler,
    call: tuple[Func, Arguments, Keywords],
    value: Tensor,
) -> Tensor:
    """Makes a proxy by its maker; an opaque one where the rows' places are unknown."""
    func, args, kwargs = call
    pairs = interception.pairs
    trace = None if pairs is None else pairs.trace
    if trace is not None:
        trace.begin(name)
    try:
        proxy: Tensor = maker(interception, func, args, kwargs)
    except RowsLost:
        if trace is not None:
            trace.lost()
        sources = _dependents((args, kwargs))
        proxy = severed(value, sources)
        interception.report(name, proxy, sources)
    if pairs is not None:
        pairs.follow(name, func, args, kwargs, proxy)
    return proxy


def _finished(
    interception: Interception, name: str, value: object, result: object, *, graph: bool
) -> Any:
    """Chooses, for each result, the tensor that the model receives.

    Args:
        interception: The interception of the batch.
        name: The operation's name.
        value: The results for the values, without a graph.
        result: The results for the proxies.
        graph: Whether the model receives the latter.
    """
    values, form = tree_flatten(value)
    results = tree_leaves(result)
    finished = []
    for plain, made in zip(values, results, strict=True):
        if not isinstance(plain, Tensor):
            finished.append(plain)
        elif graph and (plain.is_floating_point() or plain.is_complex()):
            finished.append(made if made.dtype == plain.dtype else made.to(plain.dtype))
        else:
            if depends(made) and _stands_for(made, plain):
                interception.proxies.set(plain, made)
            else:
                sources = tuple(t for t in results if depends(t))
                interception.proxies.set_opaque(name, plain, sources)
            finished.append(plain)
    return tree_unflatten(finished, form)


def _stands_for(proxy: Tensor, value: Tensor) -> bool:
    """Returns whether a proxy has a value's shape and, of integers and bools, its exact numbers."""
    if value.is_floating_point() or value.is_complex():
        return proxy.shape == value.shape
    return proxy.shape == value.shape and bool((proxy.detach() == value).all())


def _dependents(arguments: object) -> tuple[Tensor, ...]:
    return tuple(t for t in tree_leaves(arguments) if depends(t))


def _shares_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
