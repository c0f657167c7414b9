"""Taps into a model, for the duration of one batch. This is the only file that registers hooks.

Rules:
1. A hook is always removed, also when the model raises.
2. A hook acts only in the thread that set it: others may run the same model at the same time.
3. Nothing is stored on the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any, cast

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from adcaptum.engine.errors import InvalidArgument, ModelError
from adcaptum.engine.evaluation import Site


class Tap:
    """What is done at one site: replace its values, differentiate there, and keep what was there.

    Attributes:
        patch: What to put there: a tensor per tensor at the site; None: leave it.
        differentiate: Whether gradients are wanted here; the graph behind the site is then cut off.
        values: After forward, the floating-point tensors at the site.
        leaves: After forward, where differentiating, the tensors to differentiate with respect to.
    """

    __slots__ = ("_calls", "_rows", "_thread", "differentiate", "leaves", "patch", "site", "values")

    def __init__(self, site: Site, rows: int) -> None:
        self.site = site
        self.patch: tuple[Tensor, ...] | None = None
        self.differentiate = False
        self.values: tuple[Tensor, ...] = ()
        self.leaves: tuple[Tensor, ...] = ()
        self._rows = rows
        self._calls = 0
        self._thread = get_ident()

    def __call__(self, value: object) -> object | None:
        """Sees the value at the site; gives what to put there instead, or None to leave it."""
        if get_ident() != self._thread:
            return None
        call = self._calls
        self._calls += 1
        if self.site.call is None and call > 0:
            raise ModelError(
                f"layer {self.site.layer!r} is called more than once in one forward: "
                "say which call is meant (Site.call, from 0)"
            )
        if self.site.call is not None and call != self.site.call:
            return None
        return self._act(value)

    def check(self) -> None:
        """Raises ModelError if the model did not come by."""
        if not self.values:
            raise ModelError(
                f"the model's forward does not reach {self.site} with a floating-point tensor"
            )

    def _act(self, value: object) -> object | None:
        leaves, structure = tree_flatten(value)
        where = [i for i, t in enumerate(leaves) if isinstance(t, Tensor) and t.is_floating_point()]
        tensors = tuple(leaves[i] for i in where)
        for t in tensors:
            if t.shape[:1] != (self._rows,):
                raise ModelError(
                    f"{self.site} has a tensor of shape {tuple(t.shape)}: its first dimension "
                    f"should be the {self._rows} rows of the batch"
                )
        if self.patch is not None:
            if len(self.patch) != len(tensors):
                raise ModelError(
                    f"{self.site} has {len(tensors)} tensors, {len(self.patch)} replace them"
                )
            tensors = self.patch
        if self.differentiate:
            self.leaves = tuple(t.detach().requires_grad_() for t in tensors)
            # A clone, because what follows may overwrite it in place, which a leaf forbids.
            tensors = tuple(leaf.clone() for leaf in self.leaves)
        # What is kept must not change when what follows works in place.
        self.values = self.leaves or tuple(t.clone() for t in tensors)
        if self.patch is None and not self.differentiate:
            return None
        for i, t in zip(where, tensors, strict=True):
            leaves[i] = t
        return tree_unflatten(leaves, structure)


class Taps:
    """The taps of one batch, one per site."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._taps: dict[Site, Tap] = {}

    @property
    def empty(self) -> bool:
        """Whether no site is tapped."""
        return not self._taps

    def at(self, site: Site) -> Tap:
        """The tap at a site, made if need be."""
        if site not in self._taps:
            self._taps[site] = Tap(site, self._rows)
        return self._taps[site]

    @contextmanager
    def open(self, model: nn.Module) -> Iterator[None]:
        """Sets the taps for the duration of a `with` block.

        Raises:
            InvalidArgument: If the model has no such layer.
        """
        with ExitStack() as stack:
            for site, tap in self._taps.items():
                stack.callback(_register(find_layer(model, site.layer), tap).remove)
            yield
        for tap in self._taps.values():
            tap.check()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module of that qualified name.

    Raises:
        InvalidArgument: If the model has none.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise InvalidArgument(
            "layer", repr(name), "the qualified name of a module, as named_modules() gives it"
        ) from error


def _register(module: nn.Module, tap: Tap) -> RemovableHandle:
    if tap.site.io == "output":
        return module.register_forward_hook(lambda _module, _args, output: tap(output))

    def before(
        _module: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]] | None:
        return cast("tuple[Any, dict[str, Any]] | None", tap((args, kwargs)))

    return module.register_forward_pre_hook(before, with_kwargs=True)
