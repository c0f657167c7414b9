"""A load of predictions, explanations and streams, each answer compared with the one before."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from numpy.typing import NDArray

from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

CLIENTS = 16
ROWS = 12
SECONDS = 90.0
"""The deadline of a call: one that has no answer by then is lost."""

TOLERANCE = 1e-4
RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
Answer = NDArray[np.float32]


@dataclass
class Tally:
    """The ends of calls.

    Attributes:
        sent: All of them.
        right: Those answered as before the fault.
        retryable: Those with a typed status after which a client repeats.
        refused: Those with another typed status, by its reason.
        lost: Those without an answer or a typed status.
        wrong: Those answered otherwise.
        notes: What is known of lost and wrong ones.
        seconds: The times of right predictions.
    """

    sent: int = 0
    right: int = 0
    retryable: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """The 99th percentile of the times of predictions, in seconds."""
        return float(np.quantile(self.seconds, 0.99)) if self.seconds else 0.0


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Returns the reason of an error; empty if it is not typed."""
    pairs: Any = error.trailing_metadata() or ()
    details = dict(pairs).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def row(seed: int, first: float | None = None) -> tensor_pb2.Tensor:
    """Returns an input of one row.

    Args:
        seed: Decides its numbers.
        first: Its first number, if it is a deed.
    """
    values = np.random.default_rng(seed).uniform(-1, 1, (1, 8)).astype(np.float32)
    if first is not None:
        values[0, 0] = first
    return tensor_pb2.Tensor(datatype="FP32", shape=values.shape, data=values.tobytes())


class Load:
    """Calls of a server; `run` sends them until `stop`."""

    def __init__(self, address: str, model: str = "good") -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.stub = pb_grpc.ExplanationServiceStub(self.channel)
        self.tally = Tally()
        self._model = model_pb2.ModelRef(name=model)
        self._known: dict[tuple[str, int], Answer] = {}
        self._stopped = False

    async def learn(self) -> None:
        """Notes the right answer to every call."""
        for kind, call in self._calls().items():
            for seed in range(ROWS):
                self._known[kind, seed] = await call(seed)

    def stop(self) -> None:
        """Lets the clients end after their calls."""
        self._stopped = True

    async def run(self, clients: int = CLIENTS) -> Tally:
        """Sends calls from several clients, one after another each, until `stop`."""
        await asyncio.gather(*(self._client(index) for index in range(clients)))
        return self.tally

    async def one(self, kind: str, seed: int) -> None:
        """Sends one call and tallies its end."""
        tally, begin = self.tally, monotonic()
        tally.sent += 1
        try:
            answer = await self._calls()[kind](seed)
        except grpc.aio.AioRpcError as error:
            reason = reason_of(error)
            if not reason:
                tally.lost += 1
                tally.notes.append(f"{kind}: {error.code().name}: {error.details()}")
            elif error.code() in RETRYABLE:
                tally.retryable += 1
            else:
                tally.refused[reason] = tally.refused.get(reason, 0) + 1
            return
        if np.abs(answer - self._known[kind, seed]).max() > TOLERANCE:
            tally.wrong += 1
            tally.notes.append(f"{kind} {seed}: {answer} is not {self._known[kind, seed]}")
            return
        tally.right += 1
        if kind == "predict":
            tally.seconds.append(monotonic() - begin)

    async def _client(self, index: int) -> None:
        chosen = random.Random(index)
        while not self._stopped:
            await self.one(chosen.choice([*self._calls()]), chosen.randrange(ROWS))

    def _calls(self) -> dict[str, Callable[[int], Any]]:
        return {"predict": self._predict, "explain": self._explain, "stream": self._stream}

    async def _predict(self, seed: int) -> Answer:
        request = pb.PredictRequest(model=self._model, inputs=[row(seed)])
        reply = await self.stub.Predict(request, timeout=SECONDS)
        return np.frombuffer(reply.outputs[0].data, np.float32)

    def _question(self, seed: int) -> pb.ExplainRequest:
        method = method_pb2.MethodSpec(name="integrated_gradients")
        method.params["n_steps"].number_value = 20
        return pb.ExplainRequest(
            model=self._model,
            inputs=[row(seed)],
            spec=spec_pb2.ExplainSpec(methods=[method]),
            cache=pb.CACHE_POLICY_BYPASS,
        )

    async def _explain(self, seed: int) -> Answer:
        return _values(await self.stub.Explain(self._question(seed), timeout=SECONDS))

    async def _stream(self, seed: int) -> Answer:
        last = None
        request = pb.ExplainStreamRequest(explain=self._question(seed))
        async for event in self.stub.ExplainStream(request, timeout=SECONDS):
            last = event
        assert last is not None, "a stream that ends well has events"
        return _values(last.result)


def _values(reply: pb.ExplainResponse) -> Answer:
    (result,) = reply.results
    return np.frombuffer(result.explanations[0].attributions[0].values.data, np.float32)
