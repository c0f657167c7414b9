"""Resolved questions: those that were asked last; most requests ask what others asked before."""

from collections import OrderedDict
from typing import Final

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions import presets, question
from adcaptum.service.requests.questions.question import Question
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

MOST_BYTES: Final = 1 << 23
"""The most memory of all questions that are kept."""

MOST_SPEC_BYTES: Final = 1 << 12
"""The longest question that is kept, serialised."""

ENTRY_BYTES: Final = 1 << 14
"""The memory of a question beside its message and its targets, preparations included."""

TARGET_BYTES: Final = 1 << 9
"""The memory of one explained number of a question."""


class ResolvedQuestions:
    """A memory of resolved questions, bounded in bytes. For the event loop only.

    Attributes:
        nbytes: The memory of all of them, as estimated.
    """

    def __init__(self, max_bytes: int = MOST_BYTES) -> None:
        """Prepares an empty memory."""
        self._max_bytes = max_bytes
        self._known: OrderedDict[tuple[str, bytes], tuple[Question, int]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, spec: explain_spec_pb2.ExplainSpec, model: ServedModel) -> Question | None:
        """Returns a question that is kept; None for others, and for those with tensors."""
        if question.has_tensors(spec):
            return None
        key = _key(spec, model)
        kept = self._known.get(key)
        if kept is None:
            return None
        self._known.move_to_end(key)
        return kept[0]

    def resolve(self, spec: explain_spec_pb2.ExplainSpec, model: ServedModel) -> Question:
        """Resolves a question, and keeps it.

        Raises:
            InvalidRequest: Something in it is not allowed.
            Unsupported: The model can run none of its methods.
        """
        if question.has_tensors(spec):
            return question.resolve(spec, model)
        key = _key(spec, model)
        if len(key[1]) > MOST_SPEC_BYTES:
            return question.resolve(spec, model)
        # A copy: a message inside the request would keep all of the request in memory.
        resolved = question.resolve(explain_spec_pb2.ExplainSpec.FromString(key[1]), model)
        self._keep(key, resolved)
        return resolved

    def of(self, request: pb.ExplainRequest, model: ServedModel) -> Question:
        """Returns the question of a request, resolved.

        Raises:
            InvalidRequest: Something in it is not allowed.
            Unsupported: The model can run none of its methods.
        """
        spec = presets.effective_spec(request, model.presets)
        return self.find(spec, model) or self.resolve(spec, model)

    def _keep(self, key: tuple[str, bytes], resolved: Question) -> None:
        # The message, its key, and numbers of 8 bytes for what takes a byte in it.
        size = ENTRY_BYTES + 16 * len(key[1]) + TARGET_BYTES * resolved.targets.count
        if size > self._max_bytes // 2:
            return
        self._known[key] = (resolved, size)
        self.nbytes += size
        while self.nbytes > self._max_bytes:
            _, (_, oldest) = self._known.popitem(last=False)
            self.nbytes -= oldest


def _key(spec: explain_spec_pb2.ExplainSpec, model: ServedModel) -> tuple[str, bytes]:
    identity = model.identity
    named = f"{identity.name}/{identity.version}/{identity.digest}"
    return named, spec.SerializeToString(deterministic=True)
