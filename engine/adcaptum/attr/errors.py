"""The engine's errors in the types that Captum's users catch.

InvalidInput    an argument has the wrong form (also an AssertionError)
OutOfRange      an index lies beyond what it indexes (also an IndexError)
UnfitModel      the model or layer cannot be explained so (also an AssertionError)

All are errors of the engine too. `NotPerRow`, `NotDifferentiable` and `UncoveredOperations` are not
translated.
"""

from __future__ import annotations

from types import TracebackType

from adcaptum.engine.errors import (
    InvalidArgument,
    ModelError,
    NotDifferentiable,
    NotPerRow,
    OutOfRange,
    UncoveredOperations,
)

_PASSING = (NotPerRow, NotDifferentiable, UncoveredOperations)

__all__ = ["InvalidInput", "OutOfRange", "UnfitModel", "translated"]


class InvalidInput(InvalidArgument, AssertionError):
    """An argument of a form that is not allowed; names argument, form and the allowed form."""


class UnfitModel(ModelError, AssertionError):
    """A model or layer that cannot be explained by the method."""


class _Translating:
    """A context manager without a state, so that one serves all, also within itself."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, (InvalidInput, OutOfRange, UnfitModel, *_PASSING)):
            return
        if isinstance(error, InvalidArgument):
            raise InvalidInput(error.field, error.value, error.allowed) from error
        if isinstance(error, ModelError):
            raise UnfitModel(str(error)) from error


_TRANSLATING = _Translating()


def translated() -> _Translating:
    """Returns a context that raises the engine's errors as Captum's types."""
    return _TRANSLATING
