"""The engine's errors in the types that Captum's users catch.

InvalidInput    an argument has the wrong form (also an AssertionError)
OutOfRange      an index lies beyond what it indexes (also an IndexError)
UnfitModel      the model or layer cannot be explained so (also an AssertionError)

All are errors of the engine too. `NotPerRow`, `NotDifferentiable` and `UncoveredOperations` are not
translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def translated() -> Iterator[None]:
    """Raises the engine's errors as Captum's types."""
    try:
        yield
    except (InvalidInput, OutOfRange, UnfitModel, *_PASSING):
        raise
    except InvalidArgument as error:
        raise InvalidInput(error.field, error.value, error.allowed) from error
    except ModelError as error:
        raise UnfitModel(str(error)) from error
