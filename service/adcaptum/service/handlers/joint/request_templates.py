"""Templates of joint requests: all that alike requests ask beside their inputs, read once."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from adcaptum.service.handlers import costs
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import inputs as request_inputs, parsed_request
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Part
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.requests.reading import Reading
from adcaptum.service.runtime.cost import Cost
from adcaptum.v1 import explanation_service_pb2 as pb

MOST_BYTES: Final = 8 << 20
"""The most memory of all templates."""

ENTRY_BYTES: Final = 8 << 10
"""The memory of a template beside its tensors and its message: Python's objects."""

PLAIN: Final = Reading(0)
"""The bounds of reading plain numbers, which takes microseconds: no deadline, no images."""

NOTHING: Final = Inputs((torch.zeros(0),))


@dataclass(frozen=True, slots=True, eq=False)
class RequestTemplate:
    """A request about a number of examples, without them.

    Attributes:
        model: The model that is asked.
        parsed: The request, without inputs; None where more of it depends on them.
        cost: Its cost.
        nbytes: The memory that it takes.
    """

    model: ServedModel
    parsed: ParsedRequest | None
    cost: Cost
    nbytes: int

    def filled(
        self, request: pb.ExplainRequest, question: Question, requests: int
    ) -> ParsedRequest:
        """Reads the inputs of requests into the template.

        Args:
            request: The joined inputs.
            question: The joined question.
            requests: The number of requests.

        Raises:
            InvalidRequest: Something in the inputs is not allowed.
        """
        parsed = self.parsed
        assert parsed is not None, "nothing else depends on the inputs"
        part = parsed.parts[0]
        inputs = request_inputs.read(request.inputs, parsed.model.loaded, PLAIN)
        # The question of one request has its own budget already, and what is kept for it.
        if requests > 1:
            asked = parsed.question
            if question.targets is not asked.targets:
                asked = replace(asked, targets=question.targets)
            question = asked
        parts = (Part(0, inputs, part.baselines, part.starts),)
        return ParsedRequest(
            parsed.model,
            question,
            inputs,
            parts,
            parts,
            parsed.masks,
            parsed.planned_rows,
            parsed.planned_multiply_adds,
            parsed.planned_bytes,
        )


class RequestTemplates:
    """The templates that were used last, bounded in bytes.

    Attributes:
        nbytes: Their memory.
    """

    def __init__(self, max_bytes: int = MOST_BYTES) -> None:
        self._max_bytes = max_bytes
        self._known: OrderedDict[Hashable, RequestTemplate] = OrderedDict()
        self.nbytes = 0

    def cost(self, request: IdentifiedRequest, alike: Hashable) -> Cost:
        """Returns the cost of a request alone.

        Args:
            request: The request.
            alike: What it has in common with requests that it may be joined with.

        Raises:
            InvalidRequest: Something in it is not allowed.
        """
        known = self._find((alike, 1, request.message.inputs[0].shape[0]))
        if known is not None:
            return known.cost
        _, cost = self.read(request.message, request, alike, request.question, 1)
        return cost

    def read(
        self,
        message: pb.ExplainRequest,
        first: IdentifiedRequest,
        alike: Hashable,
        question: Question,
        requests: int,
    ) -> tuple[ParsedRequest, Cost]:
        """Reads alike requests that were joined into one.

        Args:
            message: The joined inputs.
            first: One of the requests.
            alike: What they have in common.
            question: The joined question.
            requests: Their number.

        Raises:
            InvalidRequest: Something in it is not allowed.
        """
        key = (alike, requests, message.inputs[0].shape[0])
        known = self._find(key)
        if known is not None and known.parsed is not None:
            return known.filled(message, question, requests), known.cost
        # Each may use the rows of its own budget.
        budget = replace(question.budget, max_rows=question.budget.max_rows * requests)
        question = replace(question, budget=budget)
        parsed = parsed_request.read(message, first.model, question, PLAIN)
        cost = costs.of_explanation(parsed)
        blurred = any(each.WhichOneof("kind") == "blur" for each in question.spec.baselines)
        self._keep(key, _without_inputs(parsed, cost, blurred=blurred))
        return parsed, cost

    def forget(self, model: ServedModel) -> None:
        """Forgets the templates of a model that was taken out of service."""
        for key, known in [*self._known.items()]:
            if known.model is model:
                self.nbytes -= self._known.pop(key).nbytes

    def _find(self, key: Hashable) -> RequestTemplate | None:
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        return known

    def _keep(self, key: Hashable, template: RequestTemplate) -> None:
        before = self._known.pop(key, None)
        if before is not None:
            self.nbytes -= before.nbytes
        self._known[key] = template
        self.nbytes += template.nbytes
        while self.nbytes > self._max_bytes:
            _, oldest = self._known.popitem(last=False)
            self.nbytes -= oldest.nbytes


def _without_inputs(parsed: ParsedRequest, cost: Cost, *, blurred: bool) -> RequestTemplate:
    """Makes a template; one whose baselines are made of the inputs is its cost alone."""
    if blurred:
        return RequestTemplate(parsed.model, None, cost, ENTRY_BYTES)
    part, question = parsed.parts[0], parsed.question
    kept: list[Tensor] = [*part.baselines.tensors, *(parsed.masks.tensors if parsed.masks else ())]
    if part.starts is not None:
        kept += part.starts.tensors
    kept += [each for each in question.targets.numbers if isinstance(each, Tensor)]
    size = ENTRY_BYTES + 2 * question.spec.ByteSize() + sum([each.nbytes for each in kept])
    parts = (Part(0, NOTHING, part.baselines, part.starts),)
    bare = replace(parsed, inputs=NOTHING, parts=parts, lone_parts=parts)
    return RequestTemplate(parsed.model, bare, cost, size)
