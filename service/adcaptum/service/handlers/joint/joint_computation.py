"""Joint computations: one work for alike requests, and the cut of its results into their shares."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import (
    Attribution,
    ErrorKind,
    StopReason,
    divided,
)
from adcaptum.service.handlers.joint.member import Member, Share
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.handlers.shared_computation import PieceAttributions
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Part, Piece
from adcaptum.service.runtime.work import Work


class JointComputation:
    """A work that explains the examples of several members.

    For the event loop only.

    Attributes:
        members: The members, in the order of their examples.
        work: The work.
        left: The number of members that nobody waits for any longer.
        begun: When its turn began, on the monotonic clock.
    """

    __slots__ = ("_parsed", "_plan", "begun", "left", "members", "work")

    def __init__(
        self, members: Sequence[Member], parsed: ParsedRequest, plan: Explanation, work: Work
    ) -> None:
        self.members = members
        self.work = work
        self.left = 0
        self.begun = monotonic()
        self._parsed = parsed
        self._plan = plan

    def settle(self, apart: Callable[[Member], None]) -> None:
        """Gives each member its share of the results.

        If the work has failed, a member that is alone gets the error, and of several each runs
        apart, so that only the culprit fails.

        Args:
            apart: Called with each member that has to run apart.
        """
        error = self.work.error
        if error is not None:
            for member in self.members:
                if len(self.members) == 1:
                    member.fail(error)
                else:
                    apart(member)
            return
        for member, share in zip(self.members, self._shares(), strict=True):
            member.settle(share)

    def _shares(self) -> list[Share]:
        parsed, counts = self._parsed, [member.examples for member in self.members]
        answered = self._plan.answered(self.work.results)
        if len(counts) == 1:
            return [Share(parsed, answered, self._plan.outputs, self.work)]
        inputs = _divided_inputs(parsed, counts)
        outputs = self._plan.outputs
        divided_outputs: Sequence[Tensor | None] = (
            [None] * len(counts) if outputs is None else outputs.split(counts)
        )
        pieces = list(zip(*[_divided(each, counts, inputs) for each in answered], strict=True))
        shown = parsed.output.return_inputs
        return [
            Share(replace(parsed, inputs=own) if shown else parsed, list(piece), output, self.work)
            for own, piece, output in zip(inputs, pieces, divided_outputs, strict=True)
        ]


def _divided_inputs(parsed: ParsedRequest, counts: Sequence[int]) -> list[Inputs]:
    columns = zip(*[each.split(counts) for each in parsed.inputs.tensors], strict=True)
    return [Inputs(tensors) for tensors in columns]


def _divided(
    answered: tuple[Piece, Attribution], counts: Sequence[int], inputs: Sequence[Inputs]
) -> PieceAttributions:
    """Divides the attributions of one method and target."""
    piece, attribution = answered
    part = piece.part
    return [
        (
            Piece(
                piece.method,
                piece.target,
                indices,
                Part(0, own, part.baselines, part.starts),
                piece.explicand,
            ),
            _with_own_reason(each) if each.stop_reason is StopReason.BUDGET else each,
        )
        for each, indices, own in zip(
            divided(attribution, counts), piece.indices.split(counts), inputs, strict=True
        )
    ]


def _with_own_reason(answer: Attribution) -> Attribution:
    """Returns a part of an answer that says BUDGET only if its own errors are unknown.

    No joint request is cut short by its rows: one that might be runs apart.
    """
    unknown = answer.error_kind is ErrorKind.STANDARD_ERROR and (
        answer.error is not None and bool(answer.error.isnan().any())
    )
    return answer if unknown else replace(answer, stop_reason=StopReason.CONVERGED)
