"""Passages: requests on their way through the front."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from adcaptum.service.front.router import key_of
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc import first_bytes
from adcaptum.service.supervisor.views import WorkerView


@dataclass(slots=True, eq=False)
class Passage:
    """A request on its way.

    Attributes:
        path: The method, as gRPC names it.
        rpc: Its name.
        raw: The request.
        call: The facts about the call.
        metadata: What the worker is told beside the request.
        model: The name of its model; empty if it has none.
        body: The request without a stream's wrapper.
        key: Equal for equal requests.
        attempts: The times that it was sent to a worker.
        strikes: The workers that ended while its rows ran.
        lost: The processes that ended while they had it.
        process: The process that has it, or had it last.
        is_lost: Whether its last attempt ended without an answer.
    """

    path: str
    rpc: str
    raw: bytes
    call: Call
    metadata: Sequence[tuple[str, str]]
    model: str = field(init=False)
    body: bytes = field(init=False)
    key: int = field(init=False)
    attempts: int = 0
    strikes: int = 0
    lost: list[WorkerView] = field(default_factory=list)
    process: WorkerView | None = None
    is_lost: bool = False

    def __post_init__(self) -> None:
        streamed = self.rpc == "ExplainStream"
        self.model = first_bytes.model_name(self.raw, streamed=streamed)
        self.body = first_bytes.body(self.raw, streamed=streamed)
        self.key = key_of(self.body)
