"""What a request will take, and whether there is room and time for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from torch import Tensor

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.errors import DeadlineExceeded, InvalidRequest, TooLate
from adcaptum.service.handlers.call import Call
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest, Piece
from adcaptum.service.runtime.dispatcher import Ahead, Dispatcher
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

SURE: Final = 2.0
"""How many times the time that is left a request has to need to be refused. Seconds of rows are
learnt, perhaps on a busy machine: only what is far off is sure."""

ANSWER_SECONDS: Final = 0.1
"""What is kept of the time for writing a partial answer and for its way, at most."""

ANSWER_SHARE: Final = 0.3
"""The same, as a share of the time that there is."""

PLAIN_NUMBERS: Final = 1 << 13
"""Up to so many rows times elements of an example, planning coalitions and fitting regressions to
what they are worth takes some milliseconds at most."""

PRIORITIES: Final = {
    explanation_pb2.PRIORITY_UNSPECIFIED: Priority.INTERACTIVE,
    explanation_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    explanation_pb2.PRIORITY_BATCH: Priority.BATCH,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request is expected to take.

    Attributes:
        rows: How many rows.
        seconds: How long they take with the device for them alone.
        first_seconds: How long those take, at least, without which there is no answer at all.
        nbytes: The memory that it holds until its end, in bytes.
        engine: What runs it.
    """

    rows: int
    seconds: float
    first_seconds: float
    nbytes: int
    engine: EngineRunner

    @classmethod
    def of_explanation(cls, question: ParsedRequest, engines: Dispatcher) -> "Cost":
        """Foretells an explanation's."""
        rows = question.estimated_rows()
        # Who may use few of the rows that there are has all of them planned.
        engine = engines.of(question.model, rows, plain=_plain(question, sum(rows.values())))
        most, expected = question.budget.max_rows, sum(rows.values())
        if expected > most:
            rows = {kind: -(-count * most // expected) for kind, count in rows.items()}
        each = question.inputs.count * question.choice.count
        first = {kind: min(count, each) for kind, count in rows.items()}
        if question.needs_outputs or question.tells_outputs:
            rows["forward"] += question.inputs.count
        model = question.model
        return cls(
            sum(rows.values()),
            engines.seconds(engine, model, rows),
            engines.seconds(engine, model, first),
            question.nbytes,
            engine,
        )

    @classmethod
    def of_prediction(cls, inputs: Inputs, model: ServedModel, engines: Dispatcher) -> "Cost":
        """Foretells a prediction's."""
        rows = {"forward": inputs.count}
        engine = engines.of(model, rows)
        seconds = engines.seconds(engine, model, rows)
        return cls(inputs.count, seconds, seconds, _nbytes(inputs.tensors), engine)

    def among(self, ahead: Ahead, *, first: bool = False) -> tuple[float, float]:
        """How long it takes among others: itself, and its wait for their turns, in seconds.

        The device is shared evenly: a request waits for no more than the others have to do, and
        for no more than each one's turns while it has its own.

        Args:
            ahead: The others.
            first: Whether only what has to come before any answer counts.
        """
        own = self.first_seconds if first else self.seconds
        return own, min(ahead.seconds, ahead.requests * own)


def priority(request: pb.ExplainRequest) -> Priority:
    """Reads the class of a request.

    Raises:
        InvalidRequest: There is no such class.
    """
    found = PRIORITIES.get(request.priority)
    if found is None:
        raise InvalidRequest("priority", f"{request.priority}; must be INTERACTIVE or BATCH")
    return found


def due(call: Call, *, partial: bool) -> float | None:
    """Returns when an answer is wanted, on the monotonic clock; None: when it is ready.

    Raises:
        DeadlineExceeded: That was before.
    """
    deadline = call.deadline
    if deadline is None:
        return None
    if deadline <= monotonic():
        raise DeadlineExceeded("the deadline had passed when the request was read")
    if partial:
        deadline -= min(ANSWER_SECONDS, ANSWER_SHARE * (deadline - call.arrival))
    return deadline


def check_time(cost: Cost, ahead: Ahead, deadline: float, *, partial: bool) -> None:
    """Refuses what cannot be answered in time.

    Args:
        cost: What it takes.
        ahead: What there is to do beside it.
        deadline: When the answer is wanted, on the monotonic clock.
        partial: Whether any answer will do.

    Raises:
        TooLate: Even the first estimate takes far longer than there is time.
    """
    own, wait = cost.among(ahead, first=partial)
    left = max(0.0, deadline - monotonic())
    if own + wait > SURE * left:
        what = "for a first estimate" if partial else f"for {cost.rows} rows"
        raise TooLate(
            f"about {own:.2g} s of computation {what}, and {wait:.2g} s among other requests; "
            f"{left:.2g} s are left"
        )


def _nbytes(tensors: tuple[Tensor, ...]) -> int:
    return sum([each.nbytes for each in tensors])


def _plain(question: ParsedRequest, rows: int) -> bool:
    """Whether the methods of an explanation take hardly any time beside so many rows."""
    elements = sum(each[0].numel() for each in question.inputs.tensors)
    of_coalitions = any(each.method.traits.feature_masks for each in question.methods)
    return not of_coalitions or rows * elements <= PLAIN_NUMBERS


def learn(question: ParsedRequest, answered: Sequence[tuple[Piece, Attribution]]) -> None:
    """Has the model know what an explanation to a tolerance has taken, for those that follow.

    Args:
        question: What was asked.
        answered: What was answered when all its flows had ended.
    """
    tolerance = question.budget.tolerance
    if tolerance is None:
        return
    for index, resolved in enumerate(question.methods):
        own = [(piece, found) for piece, found in answered if piece.method == index]
        question.model.row_forecasts.learn(
            resolved.spec.name,
            tolerance,
            sum(question.rows(piece) for piece, _ in own),
            sum(found.rows_used for _, found in own),
            whole=all(found.stop_reason is StopReason.CONVERGED for _, found in own),
        )
