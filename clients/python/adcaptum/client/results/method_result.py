"""The explanations of one method of a request."""

from collections.abc import Sequence
from dataclasses import dataclass

from adcaptum.client.method import Method
from adcaptum.client.results.explanation import Explanation, MethodReport, StopReason


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of one method beside results of others.

    Attributes:
        code: Name of the gRPC status code, such as ``FAILED_PRECONDITION``.
        reason: The reason, for programs, as in ``AdcaptumError.reason``.
        message: The explanation, for people.
        field: Path of the request's field that caused it, such as ``spec.methods[1]``; empty if
            none did.
    """

    code: str
    reason: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """The explanations of one method, and the facts of its run.

    Attributes:
        report: Facts of the run: the method with every parameter, its cost, its end.
        explanations: By example and then by target; empty after a failure, and in progress for
            methods without an estimate before their end.
        failure: The error of the method; None if it did not fail.
    """

    report: MethodReport
    explanations: Sequence[Explanation]
    failure: Failure | None = None

    @property
    def method(self) -> Method:
        """The method with every parameter, defaults included."""
        return self.report.method

    @property
    def rows_used(self) -> int | None:
        """Number of rows evaluated for it; None in progress."""
        return self.report.rows_used

    @property
    def stop_reason(self) -> StopReason:
        """The reason of the explanation that fell short the most."""
        return self.report.stop_reason

    @property
    def uncovered_ops(self) -> tuple[str, ...]:
        """Operations of the model without a backward rule of the method."""
        return self.report.uncovered_ops

    @property
    def non_finite(self) -> int:
        """Number of attributions that are NaN or infinite."""
        return self.report.non_finite
