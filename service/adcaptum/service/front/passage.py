"""Passages: requests on their way through the front."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from adcaptum.service.front.outline import outline
from adcaptum.service.front.router import Asked, Trip, key_of
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc import first_bytes
from adcaptum.service.supervisor.views import WorkerView

EXPLAIN: Final = frozenset({"Explain", "ExplainStream"})
"""The methods whose equal requests share a computation and a stored answer."""


@dataclass(slots=True, eq=False)
class Passage:
    """A request on its way.

    Attributes:
        path: The method, as gRPC names it.
        rpc: Its name.
        raw: The request.
        call: The facts about the call.
        id: The id under which the worker knows it, unlike any other's of all fronts.
        metadata: What the worker is told beside the request.
        model: The name of its model; empty if it has none.
        body: The request without a stream's wrapper.
        key: Equal for equal requests.
        attempts: The times that it was lost with a worker, or is under way.
        refusals: The times that a worker refused it because it stops.
        strikes: The workers that ended while its rows ran.
        lost: The processes that ended while they had it.
        process: The process that has it, or had it last.
        is_lost: Whether its last attempt ended without an answer.
        trip: Its last attempt, for the router.
    """

    path: str
    rpc: str
    raw: bytes
    call: Call
    id: str
    metadata: Sequence[tuple[str, str]]
    model: str = field(init=False)
    body: bytes = field(init=False)
    key: int = field(init=False)
    attempts: int = 0
    refusals: int = 0
    strikes: int = 0
    lost: list[WorkerView] = field(default_factory=list)
    process: WorkerView | None = None
    is_lost: bool = False
    trip: Trip = field(default_factory=Trip)

    def __post_init__(self) -> None:
        streamed = self.rpc == "ExplainStream"
        self.model = first_bytes.model_name(self.raw, streamed=streamed)
        self.body = first_bytes.body(self.raw, streamed=streamed)
        self.key = key_of(self.body)

    @property
    def describes(self) -> bool:
        """True if it only asks what its model is, which one out of service answers, too."""
        return self.rpc == "GetModel"

    def asked(self) -> Asked:
        """Returns what the choice of its worker depends on."""
        if not self.model:
            return Asked(self.model, self.key)
        explains = self.rpc in EXPLAIN
        question, nbytes, bypasses = outline(self.body)
        size = nbytes.bit_length()
        kinds: tuple[Hashable, ...] = (
            (explains, self.model, question, size),
            (explains, self.model, size),
            (explains, self.model),
        )
        return Asked(self.model, self.key, kinds, explains and not bypasses)
