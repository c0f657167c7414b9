"""Known questions: what requests ask beside their inputs, read and checked once."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from adcaptum.service.handlers import costs
from adcaptum.service.handlers.joint.member import Asked
from adcaptum.service.requests import inputs as request_inputs, parsed_request, targets
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Part
from adcaptum.service.requests.reading import Reading
from adcaptum.service.runtime.cost import Cost
from adcaptum.v1 import explanation_service_pb2 as pb

MOST_BYTES: Final = 8 << 20
"""The most memory of all known questions."""

ENTRY_BYTES: Final = 8 << 10
"""The memory of a question beside its tensors and its message: Python's objects."""

PLAIN: Final = Reading(0)
"""The bounds of reading plain numbers, which take no time to speak of."""

NOTHING: Final = Inputs((torch.zeros(0),))


@dataclass(frozen=True, slots=True, eq=False)
class KnownQuestion:
    """A question about a number of examples, without them.

    Attributes:
        parsed: The request, without inputs.
        cost: Its cost.
        given: Whether its targets are given with the examples.
        nbytes: The memory that it takes.
    """

    parsed: ParsedRequest
    cost: Cost
    given: bool
    nbytes: int

    def asked(self, request: pb.ExplainRequest) -> ParsedRequest:
        """Reads the inputs of a request that asks this question.

        Raises:
            InvalidRequest: Something in them is not allowed.
        """
        parsed = self.parsed
        model, part = parsed.model, parsed.parts[0]
        inputs = request_inputs.read(request.inputs, model.loaded, PLAIN)
        choice = parsed.choice
        if self.given:
            choice = targets.read(request.target, model, inputs.count)
        return ParsedRequest(
            model,
            inputs,
            (Part(0, inputs, part.baselines, part.starts),),
            parsed.methods,
            choice,
            parsed.neuron,
            parsed.layer,
            parsed.masks,
            parsed.seed,
            parsed.budget,
            parsed.output,
            parsed.deterministic,
            parsed.planned_rows,
            parsed.planned_multiply_adds,
            parsed.planned_bytes,
        )


class KnownQuestions:
    """The questions that were asked last, bounded in bytes.

    Attributes:
        nbytes: Their memory.
    """

    def __init__(self, max_bytes: int = MOST_BYTES) -> None:
        self._max_bytes = max_bytes
        self._known: OrderedDict[Hashable, KnownQuestion] = OrderedDict()
        self.nbytes = 0

    def find(self, alike: Hashable, requests: int, examples: int) -> KnownQuestion | None:
        """Returns a question that is known.

        Args:
            alike: What the requests have in common.
            requests: Their number.
            examples: The number of all their examples.
        """
        key = (alike, requests, examples)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        return known

    def read(
        self,
        request: pb.ExplainRequest,
        asked: Asked,
        requests: int,
        examples: int,
    ) -> tuple[ParsedRequest, Cost]:
        """Reads alike requests that were joined into one.

        Args:
            request: The joined request.
            asked: One of the requests.
            requests: Their number.
            examples: The number of all their examples.

        Raises:
            InvalidRequest: Something in it is not allowed.
            NotFound: It names what does not exist.
            Unsupported: The model cannot run a method that it names.
        """
        known = self.find(asked.alike, requests, examples)
        if known is not None:
            return known.asked(request), known.cost
        parsed = parsed_request.read(request, asked.model, PLAIN, methods=asked.methods)
        # Each may use the rows of its own budget.
        budget = replace(parsed.budget, max_rows=parsed.budget.max_rows * requests)
        parsed = replace(parsed, budget=budget)
        cost = costs.of_explanation(parsed)
        if all(each.WhichOneof("kind") != "blur" for each in request.baselines):
            given = request.target.WhichOneof("kind") == "indices"
            self._keep(
                (asked.alike, requests, examples), _without_inputs(parsed, cost, given, request)
            )
        return parsed, cost

    def _keep(self, key: Hashable, question: KnownQuestion) -> None:
        self._known[key] = question
        self.nbytes += question.nbytes
        while self.nbytes > self._max_bytes:
            _, oldest = self._known.popitem(last=False)
            self.nbytes -= oldest.nbytes


def _without_inputs(
    parsed: ParsedRequest, cost: Cost, given: bool, request: pb.ExplainRequest
) -> KnownQuestion:
    part = parsed.parts[0]
    kept: list[Tensor] = [*part.baselines.tensors, *(parsed.masks or ())]
    if part.starts is not None:
        kept += part.starts.tensors
    nbytes = ENTRY_BYTES + 2 * request.ByteSize() + sum([each.nbytes for each in kept])
    bare = replace(
        parsed,
        inputs=NOTHING,
        parts=(Part(0, NOTHING, part.baselines, part.starts),),
        choice=parsed.choice,
    )
    return KnownQuestion(bare, cost, given, nbytes)
