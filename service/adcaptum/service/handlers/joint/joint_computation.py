"""Joint computations: one work for alike requests, and the cut of its results into their shares."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, divided
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.errors import ServiceError
from adcaptum.service.handlers.joint.member import Member, Share
from adcaptum.service.handlers.plans import Explanation
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

        If the work, or one of its methods, has failed, each member runs apart, so that only the
        culprit fails.

        Args:
            apart: Called with each member that has to run apart.
        """
        error = self.work.error
        if isinstance(error, ServiceError) and len(self.members) == 1:
            self.members[0].fail(error)
            return
        outcome = None if error is not None else self._plan.outcome(self.work.results)
        if outcome is None or outcome.failures:
            for member in self.members:
                apart(member)
            return
        for member, share in zip(self.members, self._shares(outcome), strict=True):
            member.settle(share)

    def _shares(self, outcome: Outcome) -> list[Share]:
        parsed, counts = self._parsed, [member.examples for member in self.members]
        if len(counts) == 1:
            return [Share(parsed, outcome, self._plan.outputs, self.work)]
        inputs = _divided_inputs(parsed, counts)
        outputs = self._plan.outputs
        divided_outputs: Sequence[Tensor | None] = (
            [None] * len(counts) if outputs is None else outputs.split(counts)
        )
        divisions = [_divided(each, counts, inputs) for each in outcome.attributions]
        pieces = list(zip(*divisions, strict=True))
        shown = parsed.output.return_inputs
        return [
            Share(
                replace(parsed, inputs=own) if shown else parsed, Outcome(piece), output, self.work
            )
            for own, piece, output in zip(inputs, pieces, divided_outputs, strict=True)
        ]


def _divided_inputs(parsed: ParsedRequest, counts: Sequence[int]) -> list[Inputs]:
    columns = zip(*[each.split(counts) for each in parsed.inputs.tensors], strict=True)
    return [Inputs(tensors) for tensors in columns]


def _divided(
    answered: tuple[Piece, Attribution], counts: Sequence[int], inputs: Sequence[Inputs]
) -> list[tuple[Piece, Attribution]]:
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
            each,
        )
        for each, indices, own in zip(
            divided(attribution, counts), piece.indices.split(counts), inputs, strict=True
        )
    ]
