"""What messages cost: requests and replies of the table model, on both sides of the wire.

One thread of one process, without gRPC. Each figure is the shortest of many short turns: what a
quiet machine would show. `bare` replies are assigned field by field from numbers that are there,
which is the least that messages cost; the server's are serialised as they are built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from google.protobuf import json_format
from google.protobuf.message import Message

from adcaptum.client.codec.replies import decode_explanations
from adcaptum.client.codec.requests import explain_request
from adcaptum.engine.execution.driver import run
from adcaptum.service.answers.model_parts import model_parts
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers import responses
from adcaptum.service.models import checks, loading
from adcaptum.service.models.repository.stored_models import open_model
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import explanation_service_pb2 as pb
from tests.benchmarks.subjects import REPOSITORY
from tests.benchmarks.tables import CONSOLE, table

MODEL: Final = "cells"
READING: Final = Reading(1_000_000)
TURN_SECONDS: Final = 5e-4


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one message.

    Attributes:
        build: Writes it, as bytes if that is how the server sends it.
        read: Turns it into what the other side works with.
    """

    build: Callable[[], Message | bytes]
    read: Callable[[Any], object]


class Messages:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._turns = 100 if quick else 1000

    def run(self) -> None:
        """Measures and prints."""
        torch.set_num_threads(1)
        stored = open_model(REPOSITORY / MODEL)
        loaded = loading.load(stored, stored.versions[stored.default_version], torch.device("cpu"))
        model = ServedModel.of(loaded, checks.check(loaded))
        made = table(
            "Messages of the table model: bytes, and µs",
            ("", "bytes", "build", "serialise", "parse", "read"),
        )
        for name, steps in {**self._requests(model), **self._replies(model)}.items():
            built = steps.build()
            message = pb.ExplainResponse.FromString(built) if isinstance(built, bytes) else built
            data = message.SerializeToString()
            made.add_row(
                name,
                f"{len(data):,}",
                self._cost(steps.build),
                "" if isinstance(built, bytes) else self._cost(message.SerializeToString),
                self._cost(partial(type(message).FromString, data)),
                self._cost(partial(steps.read, message)),
            )
        CONSOLE.print(made)

    def _requests(self, model: ServedModel) -> dict[str, Steps]:
        x = model.loaded.examples[0][:1].numpy()
        questions = ResolvedQuestions()

        def read(request: pb.ExplainRequest) -> ParsedRequest:
            question = questions.of(request, model)
            return parsed_request.read(request, model, question, READING)

        def bare() -> pb.ExplainRequest:
            request = pb.ExplainRequest()
            request.model.name = MODEL
            tensor = request.inputs.add()
            tensor.datatype = "FP32"
            tensor.shape.extend(x.shape)
            tensor.data = x.tobytes()
            return request

        def of_client() -> pb.ExplainRequest:
            return explain_request(MODEL, x, {"methods": "saliency", "targets": 1})

        return {
            "request: bare": Steps(bare, read),
            "request: of the client": Steps(of_client, read),
        }

    def _replies(self, model: ServedModel) -> dict[str, Steps]:
        found = {}
        for rows in (1, 64):
            parsed, outcome = _explained(model, rows)

            def written(parsed: ParsedRequest = parsed, outcome: Outcome = outcome) -> bytes:
                return responses.explanation(parsed, outcome, None, "0123456789abcdef")

            name = "one example" if rows == 1 else f"{rows} examples"
            if rows == 1:
                like = pb.ExplainResponse.FromString(written())
                found[f"reply: {name}, bare"] = Steps(_bare(parsed, like), decode_explanations)
            found[f"reply: {name}"] = Steps(written, decode_explanations)
        return found

    def _cost(self, call: Callable[[], object]) -> str:
        """The µs of a call: the shortest of many turns."""
        begin = perf_counter()
        call()
        times = max(1, int(TURN_SECONDS / max(perf_counter() - begin, 1e-7)))
        best = float("inf")
        for _ in range(self._turns):
            begin = perf_counter()
            for _ in range(times):
                call()
            best = min(best, (perf_counter() - begin) / times)
        return f"{best * 1e6:.1f}"


def _explained(model: ServedModel, rows: int) -> tuple[ParsedRequest, Outcome]:
    """A request for saliency of the first class, and its outcome."""
    x = np.repeat(model.loaded.examples[0][:1].numpy(), rows, 0)
    request = json_format.ParseDict(
        {"spec": {"methods": [{"name": "saliency"}], "targets": [{"index": {"values": [1]}}]}},
        pb.ExplainRequest(),
    )
    tensor = request.inputs.add(datatype="FP32", shape=x.shape)
    tensor.data = x.tobytes()
    parsed = parsed_request.read(request, model, ResolvedQuestions().of(request, model), READING)
    (piece,) = parsed.pieces(None)
    flow = parsed.methods[0].method.flow(piece.explicand)
    return parsed, Outcome([(piece, run(model.loaded.module, flow))])


def _bare(parsed: ParsedRequest, like: pb.ExplainResponse) -> Callable[[], pb.ExplainResponse]:
    """Assigns the fields of a reply from numbers that are there."""
    parts, method = model_parts(parsed.model), parsed.methods[0].result
    (result,) = like.results
    (explanation,) = result.explanations
    (attribution,) = explanation.attributions
    name, shape, data = attribution.name, [*attribution.values.shape], attribution.values.data
    label, index, output = explanation.label, [*explanation.index], explanation.output

    def build() -> pb.ExplainResponse:
        response = pb.ExplainResponse()
        response.MergeFromString(parts.with_columns)
        written = response.results.add()
        written.MergeFromString(method)
        own = written.explanations.add()
        own.example = 0
        own.target = 0
        own.index.extend(index)
        own.label = label
        own.output = output
        values = own.attributions.add(name=name).values
        values.datatype = "FP32"
        values.shape.extend(shape)
        values.data = data
        own.stop_reason = explanation.stop_reason
        written.rows_used = 1
        written.stop_reason = result.stop_reason
        response.seed = 0
        return response

    assert build() == like, "they say the same"
    return build
