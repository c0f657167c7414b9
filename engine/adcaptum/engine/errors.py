"""What can go wrong in the engine, as a tree.

EngineError
├── InvalidArgument     a caller's argument is wrong (also a ValueError)
│   └── OutOfRange          an index is beyond what it indexes (also an IndexError)
├── ModelError          the model did something that explaining it cannot work with
│   ├── NotDifferentiable   no gradient reaches the place where it was asked for
│   ├── NotPerRow           the output has not one entry per row of the batch
│   └── UncoveredOperations a backward rule has nothing to say of some operations
└── BudgetExceeded      the rows allowed do not suffice for a first answer
"""

from __future__ import annotations


class EngineError(Exception):
    """Any error that the engine raises of its own accord."""


class InvalidArgument(EngineError, ValueError):
    """An argument is wrong: says which, what it was, and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} is {value}: {allowed}")

    def __reduce__(self) -> tuple[type[InvalidArgument], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)


class OutOfRange(InvalidArgument, IndexError):
    """An index has as many dimensions as it should, and lies beyond one of them."""


class ModelError(EngineError):
    """The model cannot be explained in the way that was asked for."""


class NotDifferentiable(ModelError):
    """No gradient of the target reaches the place at which it was asked for."""


class NotPerRow(ModelError):
    """The model's output does not say something of each row: it may be one answer for all."""


class UncoveredOperations(ModelError):
    """A backward rule has nothing to say of some of the model's operations."""

    def __init__(self, operations: tuple[str, ...]) -> None:
        self.operations = operations
        super().__init__(
            f"there is no backward rule for {', '.join(operations)}: without strict they have "
            "their plain gradient, and are listed in the answer"
        )

    def __reduce__(self) -> tuple[type[UncoveredOperations], tuple[tuple[str, ...]]]:
        return type(self), (self.operations,)


class BudgetExceeded(EngineError):
    """The method has no answer within the rows that it may use."""

    def __init__(self, needed: int, allowed: int) -> None:
        self.needed = needed
        self.allowed = allowed
        super().__init__(f"the method needs at least {needed} rows and may use {allowed}")
