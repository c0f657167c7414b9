"""The number of calls of a model's modules, by which a forward may end early.

Rules:
1. The number depends on a *setting*: the shapes and dtypes of tensors, plain arguments, the plain
   attributes of the modules, and whether gradients are recorded. It also depends on the numbers in
   tensors, if the model's control flow reads them.
2. It is known in a setting once a forward has run to its end without reading a number: without an
   operation that gives Python a number, or a shape that numbers decide. torch marks these.
3. Nothing is known of callables that are no modules, nor with arguments of other kinds: their
   content may change. Control flow by anything that is neither an argument nor a plain attribute
   cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from adcaptum.engine.execution.modules import every_module

_PLAIN = frozenset({bool, int, float, str, type(None)})
# The settings that are kept, those of batches of all sizes; the oldest goes first.
MOST_SETTINGS = 1024
_TURNING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
# The dtypes of indices whose numbers decide the shape of the result.
_MASKS = {torch.bool, torch.uint8}
# The ways by which numbers leave torch that are no operations.
_EXPORTS = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr}


class _Seen:
    """The record of the forwards in a setting.

    Attributes:
        looked: Whether a forward read a number, so that others may differ.
        once: The modules that were called once.
    """

    __slots__ = ("looked", "once")

    def __init__(self) -> None:
        self.looked = False
        self.once: WeakSet[nn.Module] = WeakSet()


_settings: WeakKeyDictionary[nn.Module, dict[Hashable, _Seen]] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True, slots=True)
class CallCounts:
    """The call counts of one setting.

    Attributes:
        seen: The record, shared by all forwards in the setting.
    """

    seen: _Seen

    @classmethod
    def of(cls, model: object, arguments: Sequence[object]) -> Self | None:
        """Returns the counts of a model with these arguments; None if they cannot be known."""
        if not isinstance(model, nn.Module):
            return None
        forms: list[tuple[object, ...]] = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                forms.append((argument.shape, argument.dtype, argument.device))
            elif type(argument) in _PLAIN:
                forms.append((type(argument), argument))
            else:
                return None
        setting = (torch.is_grad_enabled(), tuple(forms), _plain_attributes(model))
        with _lock:
            known = _settings.setdefault(model, {})
            found = known.get(setting)
            if found is None:
                if len(known) >= MOST_SETTINGS:
                    del known[next(iter(known))]
                found = known[setting] = _Seen()
            return cls(found)

    def once(self, module: nn.Module) -> bool:
        """Returns whether the model is known to call a module once."""
        return module in self.seen.once

    def watched(self, once: Callable[[], Iterable[nn.Module]]) -> AbstractContextManager[object]:
        """Watches a forward to its end, unless one in this setting has read a number.

        Args:
            once: Returns, afterwards, the modules that were called once.
        """
        return nullcontext() if self.seen.looked else _Watch(self.seen, once)


class _Watch:
    """Watches a forward."""

    def __init__(self, seen: _Seen, once: Callable[[], Iterable[nn.Module]]) -> None:
        self._seen = seen
        self._once = once
        self._looks = DataDependence()
        self._modes = ExitStack()

    def __enter__(self) -> None:
        self._modes.enter_context(_Exports(self._looks))
        self._modes.enter_context(self._looks)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._modes.close()
        if kind is not None:
            return
        with _lock:
            self._seen.looked = self._looks.any
            if not self._looks.any:
                self._seen.once.update(self._once())


class DataDependence(TorchDispatchMode):
    """Notes whether an operation gives Python numbers of a tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.any = False

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self.any and not _TURNING.isdisjoint(func.tags):
            self.any = func is not torch.ops.aten.index.Tensor or any(
                t is not None and t.dtype in _MASKS for t in args[1]
            )
        return func(*args, **(kwargs or {}))


class _Exports(TorchFunctionMode):
    """Notes whether a tensor is handed to code outside of torch."""

    def __init__(self, looks: DataDependence) -> None:
        super().__init__()
        self._looks = looks

    def __torch_function__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _EXPORTS:
            self._looks.any = True
        return func(*args, **(kwargs or {}))


def _plain_attributes(model: nn.Module) -> tuple[object, ...]:
    """Returns the numbers, strings and flags among the modules' attributes."""
    return tuple(
        [v for module in every_module(model) for v in vars(module).values() if type(v) in _PLAIN]
    )
