"""Taps into a model, for the duration of one batch; the only file that registers hooks.

Rules:
1. A hook is always removed, also when the model raises.
2. A hook acts only in the thread that set it: others may run the same model at the same time.
3. Nothing is stored on the model.
4. Where only the values at the sites are needed, the forward ends once all are there, if the site
   names the call, or `call_counts` knows that there is only one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import accumulate
from threading import Lock, get_ident
from types import TracebackType
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from adcaptum.engine.errors import ModelError
from adcaptum.engine.execution.call_counts import CallCounts
from adcaptum.engine.execution.modules import find_layer
from adcaptum.engine.vocabulary.site import Site

# The number of tensors at a module's input and output, of modules read together with others.
_tensor_counts: WeakKeyDictionary[nn.Module, dict[str, int]] = WeakKeyDictionary()
_lock = Lock()


class Enough(BaseException):  # a model may catch every Exception
    """All taps have their values, and the rest of the forward is not needed."""


class _Tap:
    """The action at one module: replace values, differentiate them, keep them."""

    __slots__ = (
        "_rows", "_thread", "calls", "cut", "differentiate", "leaves", "module", "patch", "site",
        "values",
    )  # fmt: skip

    def __init__(self, site: Site, rows: int, *, cut: bool) -> None:
        self.site = site
        self.cut = cut
        self.module: nn.Module | None = None
        self.patch: tuple[Tensor, ...] | None = None
        self.differentiate = False
        self.values: tuple[Tensor, ...] = ()
        self.leaves: tuple[Tensor, ...] = ()
        self.calls = 0
        self._rows = rows
        self._thread = get_ident()

    def __call__(self, value: object) -> object | None:
        """Takes the value at the site; returns a replacement, or None to leave it."""
        if get_ident() != self._thread:
            return None
        call = self.calls
        self.calls += 1
        if self.site.call is None and call > 0:
            raise ModelError(
                f"layer {self.site.named} is called more than once in one forward: "
                "say which call is meant (Site.call, from 0)"
            )
        if self.site.call is not None and call != self.site.call:
            return None
        return self._act(value)

    def settled(self, counts: CallCounts | None) -> bool:
        """Returns whether the values are there, and no second call can come."""
        return bool(self.values) and self.sure(counts)

    def sure(self, counts: CallCounts | None) -> bool:
        """Returns whether the site names the call, or the only call is known."""
        if self.site.call is not None:
            return True
        return counts is not None and self.module is not None and counts.once(self.module)

    def check(self) -> None:
        """Raises ModelError if the model did not call the module."""
        if not self.values:
            raise ModelError(
                f"the model's forward does not reach {self.site} with a floating-point tensor"
            )

    def _act(self, value: object) -> object | None:
        if isinstance(value, Tensor) and not isinstance(self.module, nn.RNNBase):
            # Most modules give a tensor whose first dimension is the examples.
            own = self._replaced((value,) if value.is_floating_point() else ())
            return own[0] if own else None
        leaves, structure = tree_flatten(value)
        where = [i for i, t in enumerate(leaves) if isinstance(t, Tensor) and t.is_floating_point()]
        dims = _example_dims(self.module, len(where))
        tensors = tuple(_moved(leaves[i], d, 0) for i, d in zip(where, dims, strict=True))
        replaced = self._replaced(tensors)
        if replaced is None:
            return None
        for i, t, d in zip(where, replaced, dims, strict=True):
            leaves[i] = _moved(t, 0, d)
        return tree_unflatten(leaves, structure)

    def _replaced(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Takes the tensors at the site; returns replacements, or None to leave them."""
        for t in tensors:
            if t.dim() == 0 or t.shape[0] != self._rows:
                raise ModelError(
                    f"{self.site} has a tensor of shape {tuple(t.shape)}: its first dimension "
                    f"should be the {self._rows} rows of the batch"
                )
        if self.patch is None and not self.cut:
            _remember(self, len(tensors))
        if self.patch is not None:
            if len(self.patch) != len(tensors):
                raise ModelError(
                    f"{self.site} has {len(tensors)} tensors, {len(self.patch)} replace them"
                )
            # Of a batch with reference rows, which come last, only the examples' are replaced.
            tensors = tuple(
                p if len(p) == len(t) else torch.cat([p, t[len(p) :]])
                for p, t in zip(self.patch, tensors, strict=True)
            )
        if self.differentiate:
            self.leaves = tuple([self._leaf(t) for t in tensors])
            # A clone, because later operations may overwrite it in place, which a leaf forbids.
            tensors = tuple([leaf.clone() for leaf in self.leaves])
        # Copies the values to keep, because later operations may work in place.
        self.values = self.leaves or tuple([t.clone() for t in tensors])
        return None if self.patch is None and not self.differentiate else tensors

    def _leaf(self, t: Tensor) -> Tensor:
        """Makes the leaf of the gradients; cuts the graph behind it unless a gradient flows on."""
        return t if t.requires_grad and not self.cut else t.detach().requires_grad_()


class Taps:
    """The taps of one batch."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._taps: dict[Site, tuple[_Tap, ...]] = {}
        self._patches: dict[Site, tuple[Tensor, ...]] = {}

    @property
    def empty(self) -> bool:
        """True if no site is tapped."""
        return not self._taps

    @property
    def named(self) -> bool:
        """True if a site's layer has to be found by its name."""
        return any(isinstance(tap.site.layer, str) for taps in self._taps.values() for tap in taps)

    def read(self, site: Site) -> None:
        """Keeps the values at a site."""
        self._at(site)

    def patch(self, site: Site, tensors: tuple[Tensor, ...]) -> None:
        """Replaces the values at a site; the tensors of several layers stand one after another."""
        self._at(site)
        self._patches[site] = tensors

    def differentiate(self, site: Site) -> None:
        """Differentiates at a site."""
        for tap in self._at(site):
            tap.differentiate = True

    def connect(self, site: Site) -> None:
        """Differentiates at a site, and lets gradients flow on from there towards the inputs."""
        for tap in self._at(site):
            tap.differentiate, tap.cut = True, False

    def values(self, site: Site) -> tuple[Tensor, ...]:
        """Returns the floating-point tensors at a site, after the forward."""
        return tuple([t for tap in self._taps[site] for t in tap.values])

    def leaves(self, site: Site) -> tuple[Tensor, ...]:
        """Returns the leaves of the gradients at a site, after the forward."""
        return tuple([t for tap in self._taps[site] for t in tap.leaves])

    def open(
        self,
        model: object,
        *,
        enough: bool = False,
        arguments: Sequence[object] = (),
        watch: bool = False,
    ) -> _Opened:
        """Returns a context in which the taps are set.

        Args:
            model: The model; layers that are named have to be its.
            enough: Whether only the values at the sites are needed: then the block may be left
                before its end.
            arguments: The arguments of the forward.
            watch: Whether to count calls in the block, to end the next one of its kind early;
                meanwhile numbers may be rounded in another way.

        Raises:
            InvalidArgument: If the model has no such layer.
            ModelError: If a site of several layers is to have other tensors than it has.
        """
        every = [tap for taps in self._taps.values() for tap in taps]
        for tap in every:
            assert not isinstance(tap.site.layer, tuple), "each tap has one layer"
            tap.module = find_layer(model, tap.site.layer)
        self._hand_out()
        counts: CallCounts | None = None
        if enough and any(tap.site.call is None for tap in every):
            counts = CallCounts.of(model, arguments)
        return _Opened(every, counts, enough=enough, watch=watch)

    def _hand_out(self) -> None:
        """Divides a site's replacement among its taps."""
        for site, tensors in self._patches.items():
            taps = self._taps[site]
            counts = [len(tensors)] if len(taps) == 1 else [_tensor_count(tap) for tap in taps]
            if sum(counts) != len(tensors):
                raise ModelError(f"{site} has {sum(counts)} tensors, {len(tensors)} replace them")
            for tap, count, end in zip(taps, counts, accumulate(counts), strict=True):
                tap.patch = tensors[end - count : end]

    def _at(self, site: Site) -> tuple[_Tap, ...]:
        """Returns the taps of a site; makes them if there are none."""
        found = self._taps.get(site)
        if found is None:
            layers = site.layer if isinstance(site.layer, tuple) else (site.layer,)
            # Of several layers one may feed another: both have a gradient.
            found = tuple(
                [
                    _Tap(Site(layer, site.io, site.call), self._rows, cut=len(layers) == 1)
                    for layer in layers
                ]
            )
            self._taps[site] = found
        return found


class _Opened:
    """The taps of one batch as hooks of their modules, for the duration of a `with` block."""

    __slots__ = ("_counts", "_enough", "_every", "_handles", "_thread", "_watch")

    def __init__(
        self, every: list[_Tap], counts: CallCounts | None, *, enough: bool, watch: bool
    ) -> None:
        self._every = every
        self._counts = counts
        self._enough = enough
        self._thread = get_ident()
        self._handles: list[RemovableHandle] = []
        self._watch: AbstractContextManager[object] | None = None
        if watch and counts is not None and not all(tap.sure(counts) for tap in every):
            self._watch = counts.watched(lambda: _once(every))

    def __enter__(self) -> None:
        try:
            for tap in self._every:
                self._handles.append(_register(tap, self._seen))
            if self._watch is not None:
                self._watch.__enter__()
        except BaseException:
            self._remove()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            if self._watch is not None:
                self._watch.__exit__(kind, error, traceback)
        finally:
            self._remove()
        if kind is None:
            for tap in self._every:
                tap.check()
        return kind is Enough

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _seen(self, tap: _Tap, value: object) -> object | None:
        made = tap(value)
        if self._enough and get_ident() == self._thread:
            for each in self._every:
                if not each.settled(self._counts):
                    return made
            raise Enough
        return made


def layer_shapes(
    model: nn.Module, run: Callable[[], object]
) -> dict[Site, tuple[tuple[int, ...], ...]]:
    """Records the shapes of the tensors at each site, without the examples, in one forward.

    Sites that are not reached, or have no floating-point tensor, are left out; of a module that is
    called several times the first call counts.

    Args:
        model: The model.
        run: Runs the model once, in this thread.
    """
    found: dict[Site, tuple[tuple[int, ...], ...]] = {}
    thread = get_ident()

    def note(site: Site, module: nn.Module, value: object) -> None:
        if get_ident() != thread or site in found:
            return
        every = (t for t in tree_flatten(value)[0] if isinstance(t, Tensor))
        tensors = [t for t in every if t.is_floating_point() and t.dim()]
        dims = _example_dims(module, len(tensors))
        if tensors:
            found[site] = tuple(
                (*t.shape[:d], *t.shape[d + 1 :]) for t, d in zip(tensors, dims, strict=True)
            )

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not name:
                continue
            taken, given = Site(name, "input"), Site(name)
            before = module.register_forward_pre_hook(
                lambda own, args, kwargs, site=taken: note(site, own, (args, kwargs)),
                with_kwargs=True,
            )
            after = module.register_forward_hook(
                lambda own, _args, output, site=given: note(site, own, output)
            )
            stack.callback(before.remove)
            stack.callback(after.remove)
        run()
    return found


def _once(taps: Sequence[_Tap]) -> list[nn.Module]:
    """Returns the modules that were called once."""
    return [tap.module for tap in taps if tap.module is not None and tap.calls == 1]


def _remember(tap: _Tap, tensors: int) -> None:
    assert tap.module is not None, "the layer has been found"
    if _tensor_counts.get(tap.module, {}).get(tap.site.io) != tensors:
        with _lock:
            _tensor_counts.setdefault(tap.module, {})[tap.site.io] = tensors


def _tensor_count(tap: _Tap) -> int:
    assert tap.module is not None, "the layer has been found"
    return _tensor_counts.get(tap.module, {}).get(tap.site.io, 1)


def _example_dims(module: nn.Module | None, tensors: int) -> list[int]:
    """Returns the dimension of the examples in each tensor, which recurrent layers may move.

    These have (time, examples, features) unless `batch_first` is set, and always states of
    (layers, examples, features). At a site the examples come first all the same.
    """
    if not isinstance(module, nn.RNNBase) or not tensors:
        return [0] * tensors
    return [0 if module.batch_first else 1] + [1] * (tensors - 1)


def _moved(t: Tensor, source: int, target: int) -> Tensor:
    # Recurrent kernels want their states contiguous.
    return t if source == target or t.dim() < 2 else t.movedim(source, target).contiguous()


def _register(tap: _Tap, seen: Callable[[_Tap, object], object | None]) -> RemovableHandle:
    module = tap.module
    assert module is not None, "the layer has been found"
    if tap.site.io == "output":
        return module.register_forward_hook(lambda _module, _args, output: seen(tap, output))

    def before(
        _module: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]] | None:
        return cast("tuple[Any, dict[str, Any]] | None", seen(tap, (args, kwargs)))

    return module.register_forward_pre_hook(before, with_kwargs=True)
