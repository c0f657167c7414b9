"""The budget of an explanation: its rows, its tolerance, and its answer at the deadline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

ON_DEADLINE: Final = frozenset(pb.OnDeadline.values())
"""The known answers at the deadline."""

LEAST_TOLERANCE: Final = 1e-9
"""The smallest tolerance; float32 has seven digits, and models compute with no more."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of an explanation.

    Attributes:
        max_rows: The most rows that it may use.
        tolerance: The largest error of attributions, relative to the sum of an explanation's
            magnitudes; None: the methods' numbers of steps and samples decide.
    """

    max_rows: int
    tolerance: float | None = None


def read(
    message: explain_spec_pb2.Budget, methods: Sequence[ResolvedMethod], most_rows: int
) -> Budget:
    """Reads the budget of a question.

    Raises:
        InvalidRequest: There are more rows than the model allows, the tolerance is out of range,
            or a method takes none.
    """
    rows = most_rows
    if message.HasField("max_rows"):
        rows = message.max_rows
        if not 1 <= rows <= most_rows:
            raise InvalidRequest(
                "spec.budget.max_rows", f"{rows}; must be at least 1 and at most {most_rows}"
            )
    if not message.HasField("tolerance"):
        return Budget(rows)
    tolerance = message.tolerance
    if not LEAST_TOLERANCE <= tolerance < 1:
        raise InvalidRequest(
            "spec.budget.tolerance", f"{tolerance:g}; must be from {LEAST_TOLERANCE:g} to below 1"
        )
    for each in methods:
        if not each.method.traits.tolerance:
            able = ", ".join(name for name, known in METHODS.items() if known.traits.tolerance)
            raise InvalidRequest(
                "spec.budget.tolerance",
                f"{tolerance:g}; {each.spec.name} takes none. Those that do: {able}",
            )
    return Budget(rows, tolerance)


def partial(request: pb.ExplainRequest, budget: Budget, *, stream: bool) -> bool:
    """Returns True if the best answer so far is sent when the deadline comes.

    Args:
        request: The request.
        budget: Its budget.
        stream: Whether it asks for progress.

    Raises:
        InvalidRequest: There is no such way to end.
    """
    if request.on_deadline not in ON_DEADLINE:
        raise InvalidRequest("on_deadline", f"{request.on_deadline}; must be FAIL or PARTIAL")
    if request.on_deadline == pb.ON_DEADLINE_UNSPECIFIED:
        return stream or budget.tolerance is not None
    return request.on_deadline == pb.ON_DEADLINE_PARTIAL


def too_few_rows(error: BudgetExceeded, budget: Budget, examples: int) -> InvalidRequest:
    """Returns the error of a request whose methods have no answer within its rows.

    Args:
        error: The rows that a method needs and may use.
        budget: The request's budget.
        examples: The number of its examples.
    """
    # Rows are shared out in proportion to the need, which grows with the examples.
    fit = examples * error.allowed // max(1, error.needed)
    if fit:
        hint = f"{fit} of the {examples} examples fit"
    else:
        hint = "not one example fits: use fewer samples, or fewer baselines"
    return InvalidRequest(
        "spec.budget.max_rows",
        f"{budget.max_rows}; {error}: {hint}",
        reason=Reason.BUDGET_TOO_SMALL,
    )
