"""Marks of tensors by their part in products: gates, scales, bounded and shifted functions."""

from __future__ import annotations

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class Marks:
    """The marks of one batch's tensors; movements, casts and constant factors preserve them.

    A *gate* weighs other activations, as a softmax or a sigmoid does. A *scale* is a reciprocal or
    a negative power, by which a normalisation multiplies. A *bounded* tensor lies between -b and b,
    as a tanh does: with a constant of at least b added it is a gate. A *shifted* tensor is one to
    which a number was added: clipped to numbers from 0 to b it is a sigmoid in pieces, a gate.
    """

    def __init__(self) -> None:
        self._gates: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._scales: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._bounds: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._shifted: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._gates or self._scales or self._bounds or self._shifted)

    def set_gate(self, result: object) -> None:
        """Marks tensors as gates."""
        for t in _tensors(result):
            self._gates[t] = True

    def set_scale(self, result: object) -> None:
        """Marks tensors as scales."""
        for t in _tensors(result):
            self._scales[t] = True

    def set_bound(self, result: object, bound: float) -> None:
        """Marks tensors as lying between -bound and bound."""
        for t in _tensors(result):
            self._bounds[t] = bound

    def set_shifted(self, result: object, source: Tensor) -> None:
        """Marks tensors as a source with a number added."""
        for t in _tensors(result):
            self._shifted[t] = source

    def is_gate(self, value: object) -> bool:
        """Returns whether a value is a gate."""
        return isinstance(value, Tensor) and value in self._gates

    def is_scale(self, value: object) -> bool:
        """Returns whether a value is a scale."""
        return isinstance(value, Tensor) and value in self._scales

    def unshifted(self, value: object) -> Tensor | None:
        """Returns a shifted value as it was before; None if it is not marked."""
        return self._shifted.get(value) if isinstance(value, Tensor) else None

    def bound(self, value: object) -> float | None:
        """Returns the bound of a value's magnitude; None if it is not marked."""
        return self._bounds.get(value) if isinstance(value, Tensor) else None

    def hand_on(self, source: object, result: object, factor: float | None = 1) -> None:
        """Copies the marks of an operation's argument to its result.

        Args:
            source: The argument.
            result: The result.
            factor: The constant factor between the two; None: several numbers.
        """
        if self.is_gate(source):
            self.set_gate(result)
        if self.is_scale(source):
            self.set_scale(result)
        unshifted = self.unshifted(source)
        if unshifted is not None:
            self.set_shifted(result, unshifted)
        bound = self.bound(source)
        if bound is not None and factor is not None:
            self.set_bound(result, bound * abs(factor))


def _tensors(result: object) -> list[Tensor]:
    among = result if isinstance(result, tuple | list) else (result,)
    return [t for t in among if isinstance(t, Tensor)]
