"""A load of predictions, explanations and streams, each answer compared with the one before."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeAlias

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

NOTES = 100
"""The most notes of retryable answers."""

TOLERANCE = 1e-4
RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
KINDS = ("predict", "explain", "stream")
Answer = NDArray[np.float32]
Stub: TypeAlias = "pb_grpc.ExplanationServiceAsyncStub"


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
        notes: What is known of those not answered right, but for typed refusals.
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


async def one_call(
    stub: Stub, kind: str, inputs: tensor_pb2.Tensor, model: str = "bad", method: str = "saliency"
) -> Answer:
    """Sends one call; returns the output, or the attributions.

    Args:
        stub: The server.
        kind: One of `KINDS`.
        inputs: The row.
        model: The name of the model.
        method: The method of an explanation.
    """
    named = model_pb2.ModelRef(name=model)
    if kind == "predict":
        request = pb.PredictRequest(model=named, inputs=[inputs])
        reply = await stub.Predict(request, timeout=SECONDS)
        return np.frombuffer(reply.outputs[0].data, np.float32)
    spec = method_pb2.MethodSpec(name=method)
    if method == "integrated_gradients":
        spec.params["n_steps"].number_value = 20
    question = pb.ExplainRequest(
        model=named,
        inputs=[inputs],
        spec=spec_pb2.ExplainSpec(methods=[spec]),
        cache=pb.CACHE_POLICY_BYPASS,
    )
    if kind == "explain":
        return _values(await stub.Explain(question, timeout=SECONDS))
    last = None
    streaming = pb.ExplainStreamRequest(explain=question)
    async for event in stub.ExplainStream(streaming, timeout=SECONDS):
        last = event
    assert last is not None, "a stream that ends well has events"
    return _values(last.result)


def _values(reply: pb.ExplainResponse) -> Answer:
    (result,) = reply.results
    return np.frombuffer(result.explanations[0].attributions[0].values.data, np.float32)


class Load:
    """Calls of a server; `run` sends them until `stop`."""

    def __init__(self, address: str, model: str = "good") -> None:
        self._address = address
        self.channel = grpc.aio.insecure_channel(address)
        self.stub = pb_grpc.ExplanationServiceStub(self.channel)
        self.tally = Tally()
        self._model = model
        self._known: dict[tuple[str, int], Answer] = {}
        self._stopped = False

    async def learn(self) -> None:
        """Notes the right answer to every call."""
        for kind in KINDS:
            for seed in range(ROWS):
                self._known[kind, seed] = await self._answer(self.stub, kind, seed)

    def stop(self) -> None:
        """Lets the clients end after their calls."""
        self._stopped = True

    async def run(self, clients: int = CLIENTS) -> Tally:
        """Sends calls from several clients, one after another each, until `stop`."""
        await asyncio.gather(*(self._client(index) for index in range(clients)))
        return self.tally

    async def one(self, kind: str, seed: int, stub: Stub | None = None) -> None:
        """Sends one call and tallies its end.

        Args:
            kind: One of `KINDS`.
            seed: The number of its row.
            stub: Its connection; None: that of the load, whose predictions' times are kept.
        """
        tally, begin = self.tally, monotonic()
        tally.sent += 1
        try:
            answer = await self._answer(stub or self.stub, kind, seed)
        except grpc.aio.AioRpcError as error:
            reason = reason_of(error)
            # A server that drains is left, as a client with several servers would.
            self._stopped |= reason == "DRAINING"
            if not reason:
                tally.lost += 1
                tally.notes.append(f"{kind}: {error.code().name}: {error.details()}")
            elif error.code() in RETRYABLE:
                tally.retryable += 1
                if len(tally.notes) < NOTES:
                    tally.notes.append(f"{kind}: {reason}: {error.details()}")
            else:
                tally.refused[reason] = tally.refused.get(reason, 0) + 1
            return
        known = self._known[kind, seed]
        if answer.shape != known.shape or not np.abs(answer - known).max() <= TOLERANCE:
            tally.wrong += 1
            tally.notes.append(f"{kind} {seed}: {answer} is not {known}")
            return
        tally.right += 1
        if kind == "predict" and stub is None:
            tally.seconds.append(monotonic() - begin)

    async def crowd(self, calls: int, connections: int) -> None:
        """Sends many calls at once, and tallies their ends.

        Args:
            calls: Their number.
            connections: The number of connections among which they are divided.
        """
        own = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            grpc.aio.insecure_channel(self._address, options=own) for _ in range(connections)
        ]
        stubs = [pb_grpc.ExplanationServiceStub(channel) for channel in channels]
        await asyncio.gather(
            *(
                self.one(KINDS[index % len(KINDS)], index % ROWS, stubs[index % connections])
                for index in range(calls)
            )
        )
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _client(self, index: int) -> None:
        chosen = random.Random(index)
        while not self._stopped:
            await self.one(chosen.choice(KINDS), chosen.randrange(ROWS))

    def prediction(self, seed: int) -> pb.PredictRequest:
        """Returns a request of the load."""
        return pb.PredictRequest(model=model_pb2.ModelRef(name=self._model), inputs=[row(seed)])

    async def _answer(self, stub: Stub, kind: str, seed: int) -> Answer:
        return await one_call(stub, kind, row(seed), self._model, "integrated_gradients")
