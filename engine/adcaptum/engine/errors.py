"""The tree of the engine's errors.

EngineError
├── InvalidArgument     a caller's argument is wrong (also a ValueError)
│   └── OutOfRange          an index is beyond what it indexes (also an IndexError)
├── ModelError          the model cannot be explained in the way that was asked for
│   ├── NotDifferentiable   no gradient reaches the place where it was asked for
│   ├── NotPerRow           the output does not have one entry per row of the batch
│   ├── ForwardExited       the model's forward raised what would end the process
│   ├── NotDeterministic    the device cannot give the same bits each time
│   └── UncoveredOperations a backward rule does not cover some operations
└── BudgetExceeded      the rows allowed do not suffice for a first answer
"""

from __future__ import annotations


class EngineError(Exception):
    """Base class of the engine's own errors."""


class InvalidArgument(EngineError, ValueError):
    """An argument is wrong; the error has its field, its value and the allowed values."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} is {value}: {allowed}")

    def __reduce__(self) -> tuple[type[InvalidArgument], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)


class OutOfRange(InvalidArgument, IndexError):
    """An index of the right number of dimensions lies beyond one of them."""


class ModelError(EngineError):
    """The model cannot be explained in the way that was asked for."""


class NotDifferentiable(ModelError):
    """No gradient of the target reaches the place at which it was asked for."""


class NotPerRow(ModelError):
    """The model's output does not have one entry per row: it may be one answer for all."""


class ForwardExited(ModelError):
    """The model's forward raised what would end the process, such as `SystemExit`."""


class NotDeterministic(ModelError):
    """The device has no kernel that gives the same bits each time for one of the operations."""


class UncoveredOperations(ModelError):
    """A backward rule does not cover some of the model's operations."""

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
