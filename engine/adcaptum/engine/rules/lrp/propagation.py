"""The interception of relevance propagation for one batch.

Rules:
1. In the graph, autograd's "gradient" of a tensor is its relevance (see `autograd_functions`).
2. The interception keeps values for backward by reference, and copies one before the model
   overwrites it in place: in-place models cost no more memory than others.
3. It merges a batch norm or an added constant with an affine map directly before it: the relevance
   is that of the merged map. It changes neither module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from adcaptum.engine.rules.dispatch_table import DispatchTable
from adcaptum.engine.rules.interception import Func, Interception
from adcaptum.engine.rules.lrp.affine_maps import AffineMap
from adcaptum.engine.rules.lrp.affine_rules import LayerRule
from adcaptum.engine.rules.lrp.autograd_functions import Kept, Layer, applied, layer_behind
from adcaptum.engine.rules.lrp.composites import Composite, Place
from adcaptum.engine.rules.lrp.marks import Marks
from adcaptum.engine.rules.operations import MOVEMENT, name_of, words

MAPS = words("""
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
""")
"""Operations that are layers; the first of them ends the model's preprocessing."""

_CARRIERS = MOVEMENT | words("dropout feature_dropout alpha_dropout masked_fill")


class Count:
    """The number of layers that the model has called."""

    __slots__ = ("layers",)

    def __init__(self) -> None:
        self.layers = 0


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call of an affine map, with the values that its rule needs."""

    layer: AffineMap
    place: Place
    composite: Composite
    rule: LayerRule | None
    x: Kept
    y: Kept | None
    number: int
    count: Count

    def relevance(self, R: Tensor) -> Tensor:
        """Returns the relevance of the input."""
        rule = self.rule
        if rule is None:
            last = self.number == self.count.layers
            rule = self.composite.rule(replace(self.place, last=last))
        # Under autocast a layer's output has another type than its weight and input.
        dtype = self.layer.weight.dtype
        y = None if self.y is None else self.y.tensor.to(dtype)
        return rule.relevance(self.layer, self.x.tensor.to(dtype), y, R.to(dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The affine map that computed a tensor, with the versions of its input and output then."""

    layer: AffineMap
    place: Place
    x: Tensor
    versions: tuple[int, int]


class Propagation(Interception):
    """The mode that propagates relevance.

    Attributes:
        composite: The choice of a rule for each operation.
        marks: The marks of tensors by their part in products.
    """

    def __init__(self, table: DispatchTable, composite: Composite, model: object) -> None:
        super().__init__(table)
        self.composite = composite
        self._model = model
        self._asks_first, self._asks_last, self._asks_owners = (
            composite.asks(what) for what in ("first", "last", "owners")
        )
        self._kept: dict[int, list[ref[Kept]]] = {}
        self._overwritten = -1
        self._origins: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.marks = Marks()
        self._owners: dict[int, list[tuple[str, nn.Module]]] | None = None
        self._calls = 0
        self._seen = 0
        self._count = Count()

    def __torch_function__(
        self,
        func: Func,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Computes an operation by its handler, after saving the memory that it overwrites."""
        overwrites, is_map, carries = _facts(func)
        self._calls += is_map
        if overwrites and args and isinstance(args[0], Tensor):
            before, self._overwritten = self._overwritten, self._save(args[0])
            try:
                return super().__torch_function__(func, types, args, kwargs)
            finally:
                self._overwritten = before
        result = super().__torch_function__(func, types, args, kwargs)
        if carries and args and self.marks:
            self.marks.hand_on(args[0], result)
        return result

    def keep(self, tensor: Tensor) -> Kept:
        """Keeps a value for backward."""
        memory = tensor.untyped_storage().data_ptr()
        if memory == self._overwritten:
            return Kept(tensor.clone())
        kept = Kept(tensor)
        self._kept.setdefault(memory, []).append(ref(kept))
        return kept

    def _save(self, tensor: Tensor) -> int:
        """Copies the kept values in a tensor's memory before it changes; returns its address."""
        memory = tensor.untyped_storage().data_ptr()
        for reference in self._kept.pop(memory, ()):
            kept = reference()
            if kept is not None:
                kept.tensor = kept.tensor.clone()
        return memory

    def call(
        self,
        layer: AffineMap,
        place: Place,
        x: Tensor,
        y: Tensor,
        *,
        counts: bool = True,
        rule: LayerRule | None = None,
    ) -> Tensor:
        """Connects the output y of a map with its input x by the rule of the map's place.

        Args:
            layer: The map.
            place: Its place, as far as the caller knows it.
            x: Its input, in the graph.
            y: Its output, without a graph.
            counts: Whether it counts as one more layer: no if it replaces one that counted.
            rule: Its rule; None: that of the composite.
        """
        if counts:
            self._count.layers += 1
        composite = self.composite
        if self._asks_first:
            place = replace(place, first=self.begins(x))
        if rule is None and not self._asks_last:
            rule = composite.rule(place)
        kept = self.keep(y) if rule is None or rule.keeps_output else None
        number = self._count.layers
        step = Step(layer, place, composite, rule, self.keep(x), kept, number, self._count)
        result = applied(Layer, x, y, step.relevance)
        versions = (x._version, result._version)  # noqa: SLF001 - as autograd checks it
        self._origins[result] = Origin(layer, place, x, versions)
        return result

    def origin(self, tensor: Tensor) -> Origin | None:
        """Returns the map that computed a tensor, if input and output have not changed since."""
        found: Origin | None = self._origins.get(tensor)
        if found is None:
            return None
        versions = (found.x._version, tensor._version)  # noqa: SLF001 - as autograd checks it
        return found if found.versions == versions else None

    def begins(self, x: Tensor) -> bool:
        """Returns whether no layer stands between a tensor and the model's inputs."""
        # With a site inside the model, layers before it ran on values without a gradient.
        return self._calls == self._seen and not layer_behind(x)

    def saw_layer(self) -> None:
        """Counts a call of one of `MAPS` that depends on the explained values."""
        self._seen += 1

    def owners(self, weight: Tensor) -> tuple[tuple[str, nn.Module], ...]:
        """Returns the modules that own a weight, or the tensor that it is a view of."""
        if not self._asks_owners or not isinstance(self._model, nn.Module):
            return ()
        if self._owners is None:
            self._owners = {}
            for name, module in self._model.named_modules():
                for t in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    key = t.untyped_storage().data_ptr()
                    self._owners.setdefault(key, []).append((name, module))
        return tuple(self._owners.get(weight.untyped_storage().data_ptr(), ()))


@lru_cache(maxsize=4096)
def _facts(func: Callable[..., Any]) -> tuple[bool, bool, bool]:
    """Returns whether a function overwrites its first argument, is a layer, preserves marks."""
    name, in_place = name_of(func)
    return in_place or name == "__setitem__", name in MAPS, name in _CARRIERS


def propagation_of(interception: Interception) -> Propagation:
    """Returns an interception of this rule, checked and typed as a `Propagation`."""
    assert isinstance(interception, Propagation), "its handlers are in its table only"
    return interception


def graphless(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Computes the value of an operation without a graph."""
    with torch.no_grad():
        return func(*args, **kwargs)
